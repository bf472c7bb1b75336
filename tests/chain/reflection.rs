//! A shader's text as naga reads it, against the host's description: the one comparison of `tests/shaders.rs`.

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{
    AddressSpace, BinaryOperator, Block, Expression, Function, Handle, MathFunction, Module, Scalar, ShaderStage, Statement,
    StorageAccess, Type, TypeInner,
};
use retrospect::program::{Access, Element, Shader};

/// The least that WebGPU promises: FACTS 5 and 13. wgpu checks the second alone.
const WORKGROUP_BYTES: u32 = 16 << 10;
const INVOCATIONS: u32 = 256;

/// The fields of a window, as the GPU backend writes them ahead of the scalars.
const WINDOW: [&str; 4] = ["offset", "rows", "cols", "stride"];
const WINDOW_BYTES: u32 = 16;

/// The scalars that the host writes as floats; all others are unsigned integers.
const FLOATS: [&str; 7] = ["value", "limit", "momentum", "beta1", "beta2", "epsilon", "scale"];

/// What other compilers refuse and naga takes.
const REFUSED: [&str; 2] = ["3.40282347e38", "enable "];

/// Everything in which a text is not what the host says of it, or falls into a trap: empty for a good shader.
pub fn problems(wgsl: &str, shader: &Shader) -> Vec<String> {
    let module = match naga::front::wgsl::parse_str(wgsl) {
        Ok(module) => module,
        Err(error) => return vec![error.emit_to_string(wgsl)],
    };
    let mut found = Vec::new();
    if let Err(error) =
        Validator::new(ValidationFlags::all(), Capabilities::IMMEDIATES | Capabilities::SUBGROUP).validate(&module)
    {
        found.push(error.emit_to_string(wgsl));
    }
    entry(&module, shader, &mut found);
    globals(&module, shader, &mut found);
    let functions = module.functions.iter().map(|(_, f)| (f, f.name.as_deref().unwrap_or("?"), false));
    let entries = module.entry_points.iter().map(|e| (&e.function, e.name.as_str(), true));
    for (function, name, is_entry) in functions.chain(entries) {
        expressions(function, name, &mut found);
        barriers(&function.body, name, if is_entry { Place::TopLevel } else { Place::Function }, &mut false, &mut found);
    }
    found.extend(REFUSED.iter().filter(|text| wgsl.contains(**text)).map(|text| format!("{text:?} is not taken everywhere")));
    found
}

fn entry(module: &Module, shader: &Shader, found: &mut Vec<String>) {
    match module.entry_points.iter().find(|e| e.name == shader.entry && e.stage == ShaderStage::Compute) {
        None => found.push(format!("no compute entry point {}", shader.entry)),
        Some(entry) => {
            let invocations: u32 = entry.workgroup_size.iter().product();
            if invocations > INVOCATIONS || entry.workgroup_size_overrides.is_some() {
                found.push(format!("{invocations} invocations a workgroup, at most {INVOCATIONS}"));
            }
        }
    }
}

fn globals(module: &Module, shader: &Shader, found: &mut Vec<String>) {
    let context = module.to_ctx();
    let mut workgroup_bytes = 0;
    let mut bound = vec![false; shader.bindings.len() + 1];
    for (_, global) in module.global_variables.iter() {
        let name = global.name.as_deref().unwrap_or("?");
        let inner = &module.types[global.ty].inner;
        match (global.space, &global.binding) {
            (AddressSpace::WorkGroup, _) => workgroup_bytes += inner.size(context),
            // The host sets four bytes of immediates before each dispatch: the time step.
            (AddressSpace::Immediate, _) => {
                members(module, global.ty, "Immediates", &[("time", 0, Some(Scalar::U32))], found);
            }
            (space, Some(at)) => {
                let place = format!("binding {} is {name}", at.binding);
                match bound.get_mut(at.binding as usize) {
                    Some(taken) if at.group == 0 && !*taken => *taken = true,
                    _ => found.push(format!("{place} in group {}, taken or unknown to the host", at.group)),
                }
                match (at.binding as usize).checked_sub(1).map(|i| shader.bindings.get(i)) {
                    None => uniform(module, name, global.ty, space, shader, found),
                    Some(None) => {}
                    Some(Some(b)) if b.name != name => found.push(format!("{place}, the host says {}", b.name)),
                    Some(Some(b)) => {
                        let access = match b.access {
                            Access::Read => StorageAccess::LOAD,
                            Access::Write | Access::ReadWrite => StorageAccess::LOAD | StorageAccess::STORE,
                        };
                        if space != (AddressSpace::Storage { access }) {
                            found.push(format!("binding {name} is {space:?}, the host says {:?}", b.access));
                        }
                        if element(module, inner) != Some(scalar(b.element)) {
                            found.push(format!("binding {name} is {inner:?}, the host says {:?}", b.element));
                        }
                    }
                }
            }
            (AddressSpace::Private, None) => {}
            (space, None) => found.push(format!("{name} in {space:?} has no binding")),
        }
    }
    found.extend((0..).zip(bound).filter(|(_, bound)| !bound).map(|(i, _): (usize, _)| format!("nothing at binding {i}")));
    if workgroup_bytes > WORKGROUP_BYTES {
        found.push(format!("{workgroup_bytes} bytes of workgroup memory, at most {WORKGROUP_BYTES}"));
    }
    // Floats have no atomics, and compare-and-swap in their place adds in any order (FACTS 7).
    if module.types.iter().any(|(_, t)| matches!(t.inner, TypeInner::Atomic(_))) {
        found.push("an atomic".into());
    }
}

/// The uniform: a window for each binding, in order, then the scalars, four bytes each.
fn uniform(module: &Module, name: &str, ty: Handle<Type>, space: AddressSpace, shader: &Shader, found: &mut Vec<String>) {
    if (name, space) != ("params", AddressSpace::Uniform) {
        found.push(format!("binding 0 is {name} in {space:?}, the host says params, a uniform"));
    }
    let windows = shader.bindings.iter().zip(0..).map(|(b, i)| (b.name, WINDOW_BYTES * i, None));
    let start = WINDOW_BYTES * shader.bindings.len() as u32;
    let scalars = shader.scalars.iter().zip(0..).map(|(&name, i)| {
        let scalar = if FLOATS.contains(&name) { Scalar::F32 } else { Scalar::U32 };
        (name, start + 4 * i, Some(scalar))
    });
    members(module, ty, "Params", &windows.chain(scalars).collect::<Vec<_>>(), found);
    if let TypeInner::Struct { members: all, .. } = &module.types[ty].inner
        && let Some(first) = all.first()
    {
        let fields: Vec<_> = WINDOW.into_iter().zip([0, 4, 8, 12]).map(|(name, at)| (name, at, Some(Scalar::U32))).collect();
        members(module, first.ty, "Window", &fields, found);
        // All windows are of the one type that was looked at.
        let others = all.iter().take(shader.bindings.len()).filter(|m| m.ty != first.ty);
        found.extend(others.map(|m| format!("member {} of Params is no Window", m.name.as_deref().unwrap_or("?"))));
    }
}

/// A struct's members against (name, offset, scalar; `None`: a struct), and its size against that of the last one's end.
fn members(module: &Module, ty: Handle<Type>, label: &str, expected: &[(&str, u32, Option<Scalar>)], found: &mut Vec<String>) {
    let TypeInner::Struct { members, span } = &module.types[ty].inner else {
        return found.push(format!("{label} is no struct"));
    };
    if members.len() != expected.len() {
        found.push(format!("{label} has {} members, the host writes {}", members.len(), expected.len()));
    }
    for (i, (member, &(name, offset, scalar))) in members.iter().zip(expected).enumerate() {
        let is = member.name.as_deref().unwrap_or("?");
        let inner = &module.types[member.ty].inner;
        if is != name {
            found.push(format!("member {i} of {label} is {is}, the host writes {name}"));
        } else if member.offset != offset {
            found.push(format!("member {name} of {label} lies at {}, the host writes it at {offset}", member.offset));
        } else if scalar.is_some_and(|s| *inner != TypeInner::Scalar(s)) {
            found.push(format!("member {name} of {label} is {inner:?}, the host writes {scalar:?}"));
        }
    }
    let end = expected.last().map_or(0, |(_, at, scalar)| at + if scalar.is_some() { 4 } else { WINDOW_BYTES });
    if *span != end {
        found.push(format!("{label} is {span} bytes, the host writes {end}"));
    }
}

fn scalar(element: Element) -> Scalar {
    match element {
        Element::F32 => Scalar::F32,
        Element::U32 => Scalar::U32,
    }
}

/// The scalar of an array of scalars or vectors.
fn element(module: &Module, inner: &TypeInner) -> Option<Scalar> {
    let TypeInner::Array { base, .. } = inner else { return None };
    match module.types[*base].inner {
        TypeInner::Scalar(scalar) | TypeInner::Vector { scalar, .. } => Some(scalar),
        _ => None,
    }
}

/// Builtins that the crate has its own of (FACTS 4), and tests for NaN by comparison, which never fire (FACTS 2).
fn expressions(function: &Function, name: &str, found: &mut Vec<String>) {
    use BinaryOperator as Op;
    for (_, expression) in function.expressions.iter() {
        match expression {
            Expression::Math { fun: MathFunction::Tanh, .. } => found.push(format!("the builtin tanh in {name}")),
            Expression::Math { fun: MathFunction::Exp, .. } => found.push(format!("the builtin exp in {name}")),
            Expression::Binary {
                op: Op::Equal | Op::NotEqual | Op::Less | Op::LessEqual | Op::Greater | Op::GreaterEqual,
                left,
                right,
            } if same(function, *left, *right) => found.push(format!("{name} compares a value with itself")),
            _ => {}
        }
    }
}

/// Whether two expressions are the same value or the same load.
fn same(function: &Function, left: Handle<Expression>, right: Handle<Expression>) -> bool {
    let all = &function.expressions;
    left == right
        || match (&all[left], &all[right]) {
            (Expression::Load { pointer: a }, Expression::Load { pointer: b }) => same(function, *a, *b),
            (Expression::AccessIndex { base: a, index: i }, Expression::AccessIndex { base: b, index: j }) => {
                i == j && same(function, *a, *b)
            }
            (Expression::Access { base: a, index: i }, Expression::Access { base: b, index: j }) => {
                same(function, *a, *b) && same(function, *i, *j)
            }
            _ => false,
        }
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    TopLevel,
    Branch,
    Function,
}

/// Barriers that not all invocations of a workgroup may reach: wgpu does not look (FACTS 5). A loop at top level is where
/// they belong; that its bound is uniform is for the reader to see.
fn barriers(block: &Block, name: &str, place: Place, returned: &mut bool, found: &mut Vec<String>) {
    for statement in block.iter() {
        match statement {
            Statement::ControlBarrier(_) | Statement::WorkGroupUniformLoad { .. } => match place {
                Place::Function => found.push(format!("a barrier in {name}, which is no entry point")),
                Place::Branch => found.push(format!("a barrier in a branch of {name}")),
                Place::TopLevel if *returned => found.push(format!("a barrier behind a return in {name}")),
                Place::TopLevel => {}
            },
            Statement::Block(inner) => barriers(inner, name, place, returned, found),
            Statement::Loop { body, continuing, .. } => {
                barriers(body, name, place, returned, found);
                barriers(continuing, name, place, returned, found);
            }
            Statement::If { accept, reject, .. } => {
                let place = if place == Place::TopLevel { Place::Branch } else { place };
                barriers(accept, name, place, returned, found);
                barriers(reject, name, place, returned, found);
            }
            Statement::Switch { cases, .. } => {
                let place = if place == Place::TopLevel { Place::Branch } else { place };
                cases.iter().for_each(|case| barriers(&case.body, name, place, returned, found));
            }
            Statement::Return { .. } => *returned = true,
            _ => {}
        }
    }
}
