//! A shader's text as naga reads it, against the host's description: the one comparison of `tests/shaders.rs`.

use std::collections::BTreeSet;

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{
    AddressSpace, BinaryOperator, Block, Expression, Function, Handle, MathFunction, Module, Scalar, ShaderStage, Statement,
    StorageAccess, Type, TypeInner,
};
use retrospect::program::{Access, Element, Needs, Shader};

/// The least that WebGPU promises. wgpu checks the second alone.
const WORKGROUP_BYTES: u32 = 16 << 10;
const INVOCATIONS: u32 = 256;
const STORAGE_BUFFERS: usize = 8;

/// The fields of a window, as the GPU backend writes them ahead of the scalars.
const WINDOW: [&str; 4] = ["offset", "rows", "cols", "stride"];
const WINDOW_BYTES: u32 = 16;

/// The scalars that the host writes as floats; all others are unsigned integers.
const FLOATS: [&str; 14] = [
    "value", "limit", "bound", "momentum", "beta1", "beta2", "epsilon", "decay", "kept", "added", "scale", "factor", "aim",
    "others",
];

/// What other compilers refuse and naga takes.
const REFUSED: [&str; 2] = ["3.40282347e38", "enable "];

/// Everything in which a text is not what the host says of it, or falls into a trap: empty for a good shader.
/// What a shader takes besides what WebGPU promises is what its variant `needs`.
pub fn problems(wgsl: &str, shader: &Shader, needs: Needs) -> Vec<String> {
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
    entry(&module, shader, needs, &mut found);
    globals(&module, shader, needs, &mut found);
    let functions = module.functions.iter().map(|(handle, f)| (Some(handle), f, f.name.as_deref().unwrap_or("?")));
    let entries = module.entry_points.iter().map(|e| (None, &e.function, e.name.as_str()));
    // Functions come before those that call them.
    let mut waiting = BTreeSet::new();
    for (handle, function, name) in functions.chain(entries) {
        expressions(function, name, &mut found);
        let mut barriers = Barriers { name, waiting: &waiting, is_behind_return: false, has_any: false };
        barriers.look(&function.body, Place::TopLevel, &mut found);
        if let (true, Some(handle)) = (barriers.has_any, handle) {
            waiting.insert(handle);
        }
    }
    found.extend(REFUSED.iter().filter(|text| wgsl.contains(**text)).map(|text| format!("{text:?} is not taken everywhere")));
    found
}

fn entry(module: &Module, shader: &Shader, needs: Needs, found: &mut Vec<String>) {
    match module.entry_points.iter().find(|e| e.name == shader.entry && e.stage == ShaderStage::Compute) {
        None => found.push(format!("no compute entry point {}", shader.entry)),
        Some(entry) => {
            let invocations: u32 = entry.workgroup_size.iter().product();
            if invocations > INVOCATIONS.max(needs.invocations) || entry.workgroup_size_overrides.is_some() {
                found.push(format!("{invocations} invocations a workgroup, at most {INVOCATIONS}"));
            }
        }
    }
}

fn globals(module: &Module, shader: &Shader, needs: Needs, found: &mut Vec<String>) {
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
                        if element(module, inner) != Some(scalar(b.element)) && !is_word(module, inner) {
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
    let most = WORKGROUP_BYTES.max(needs.memory);
    if workgroup_bytes > most {
        found.push(format!("{workgroup_bytes} bytes of workgroup memory, at most {most}"));
    }
    let most = STORAGE_BUFFERS.max(needs.buffers as usize);
    if shader.bindings.len() > most {
        found.push(format!("{} storage buffers, at most {most}", shader.bindings.len()));
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
    // One that may be behind another begins at a multiple of 16.
    if ![end, end.next_multiple_of(WINDOW_BYTES)].contains(span) {
        found.push(format!("{label} is {span} bytes, the host writes {end}"));
    }
}

fn scalar(element: Element) -> Scalar {
    match element {
        Element::F32 => Scalar::F32,
        Element::U32 => Scalar::U32,
    }
}

/// Whether a binding is words that are read and written whole, whatever they hold.
fn is_word(module: &Module, inner: &TypeInner) -> bool {
    let TypeInner::Array { base, .. } = inner else { return false };
    matches!(module.types[*base].inner, TypeInner::Atomic(Scalar::U32))
}

/// The scalar of an array of scalars or vectors.
fn element(module: &Module, inner: &TypeInner) -> Option<Scalar> {
    let TypeInner::Array { base, .. } = inner else { return None };
    match module.types[*base].inner {
        TypeInner::Scalar(scalar) | TypeInner::Vector { scalar, .. } => Some(scalar),
        _ => None,
    }
}

/// Builtins that the crate has its own of, and tests for NaN by comparison, which never fire.
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
}

/// Barriers that not all invocations of a workgroup may reach, in the body of a function: wgpu does not look. They belong to the top level of
/// a function, or to a loop there, and so do calls of functions that have some; that a loop's bound is uniform is for the reader to see.
struct Barriers<'a> {
    name: &'a str,
    /// The functions that have barriers.
    waiting: &'a BTreeSet<Handle<Function>>,
    is_behind_return: bool,
    /// Whether there are any.
    has_any: bool,
}

impl Barriers<'_> {
    fn look(&mut self, block: &Block, place: Place, found: &mut Vec<String>) {
        let name = self.name;
        for statement in block.iter() {
            match statement {
                Statement::ControlBarrier(_) | Statement::WorkGroupUniformLoad { .. } => self.reach(place, found),
                Statement::Call { function, .. } if self.waiting.contains(function) => self.reach(place, found),
                Statement::Block(inner) => self.look(inner, place, found),
                Statement::Loop { body, continuing, .. } => {
                    self.look(body, place, found);
                    self.look(continuing, place, found);
                }
                Statement::If { accept, reject, .. } => {
                    self.look(accept, Place::Branch, found);
                    self.look(reject, Place::Branch, found);
                }
                Statement::Switch { cases, .. } => cases.iter().for_each(|case| self.look(&case.body, Place::Branch, found)),
                Statement::Return { .. } => self.is_behind_return = true,
                // What is added up by atomics is added in any order, and floats have none: compare-and-swap in their place does the same. Loads and
                // stores are no statements of this kind.
                Statement::Atomic { .. } => found.push(format!("an atomic in {name}")),
                _ => {}
            }
        }
    }

    fn reach(&mut self, place: Place, found: &mut Vec<String>) {
        self.has_any = true;
        match place {
            Place::Branch => found.push(format!("a barrier in a branch of {}", self.name)),
            Place::TopLevel if self.is_behind_return => found.push(format!("a barrier behind a return in {}", self.name)),
            Place::TopLevel => {}
        }
    }
}
