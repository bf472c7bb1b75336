// A Vulkan layer that makes one call of a program fail, or never answer. tests/faults/tools.rs builds it; it needs a C compiler and no Vulkan
// headers, since it declares the few structures that a layer is made of.
//
// What it does follows from the environment:
//   FAULT_CALL    the name of a function of Vulkan
//   FAULT_NUMBER  which call of it is struck, counted from 1
//   FAULT_ACT     lost     it and all later calls report a lost device, until a new device is created
//                 gone     the same, and no new device can be created
//                 memory   it and all later calls of the same function report that there is no memory left
//                 never    it does not return
//                 ignored  it reports success and does nothing
//   FAULT_STRUCK  a file that is made when the call is struck; in a process that begins when it is there, nothing is
//   FAULT_CALLS   a file that gets a line for each function when the process ends: its name, and how often it was called
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

typedef void (*Function)(void);
typedef Function (*Lookup)(void *handle, const char *name);
// Every wrapped function takes at most six numbers or pointers, each of which goes on as it came.
typedef uintptr_t Word;
typedef int (*Call)(Word, Word, Word, Word, Word, Word);

enum { SUCCESS = 0, OUT_OF_DEVICE_MEMORY = -2, INITIALIZATION_FAILED = -3, DEVICE_LOST = -4 };
// From vulkan_core.h and vk_layer.h.
enum { LOADER_INSTANCE_CREATE_INFO = 47, LOADER_DEVICE_CREATE_INFO = 48, LAYER_LINK = 0 };

struct InstanceLink {
    struct InstanceLink *next;
    Lookup instance_call, physical_device_call;
};

struct DeviceLink {
    struct DeviceLink *next;
    Lookup instance_call, device_call;
};

struct CreateInfo {
    int type;
    struct CreateInfo *next;
    int function;
    void *link;
};

struct Negotiation {
    int type;
    void *next;
    uint32_t version;
    Lookup instance_call, device_call, physical_device_call;
};

// The functions of a device that are wrapped.
#define FUNCTIONS(X) \
    X(vkAllocateCommandBuffers) X(vkAllocateDescriptorSets) X(vkAllocateMemory) X(vkBeginCommandBuffer) X(vkBindBufferMemory) \
    X(vkCreateBuffer) X(vkCreateCommandPool) X(vkCreateComputePipelines) X(vkCreateDescriptorPool) X(vkCreateDescriptorSetLayout) \
    X(vkCreateFence) X(vkCreatePipelineLayout) X(vkCreateQueryPool) X(vkCreateSemaphore) X(vkCreateShaderModule) X(vkDeviceWaitIdle) \
    X(vkEndCommandBuffer) X(vkFlushMappedMemoryRanges) X(vkGetFenceStatus) X(vkGetSemaphoreCounterValue) X(vkGetSemaphoreCounterValueKHR) \
    X(vkInvalidateMappedMemoryRanges) X(vkMapMemory) X(vkQueueSubmit) X(vkQueueSubmit2) X(vkQueueWaitIdle) X(vkResetCommandPool) \
    X(vkResetFences) X(vkWaitForFences) X(vkWaitSemaphores) X(vkWaitSemaphoresKHR)

#define PLACE(name) AT_##name,
enum { FUNCTIONS(PLACE) AT_vkCreateDevice, AT_vkCreateInstance, COUNT };
#define NAME(name) #name,
static const char *const names[COUNT] = { FUNCTIONS(NAME) "vkCreateDevice", "vkCreateInstance" };
static Call following[COUNT];
static int called[COUNT];
static int is_lost, is_spent;

static const char *asked(const char *variable) {
    const char *value = getenv(variable);
    return value ? value : "";
}

static int acts(const char *act) { return !strcmp(asked("FAULT_ACT"), act); }

// What a call answers instead of being made; 1 where it is made.
static int answer(int place) {
    int number = __sync_add_and_fetch(&called[place], 1), struck = atoi(asked("FAULT_NUMBER"));
    // Devices can be looked for at any time.
    int otherwise = is_lost && place != AT_vkCreateInstance ? DEVICE_LOST : 1;
    if (is_spent || strcmp(asked("FAULT_CALL"), names[place]) || number < struck) return otherwise;
    if (number == struck) {
        FILE *file = fopen(asked("FAULT_STRUCK"), "w");
        if (file) fclose(file);
        is_lost = acts("lost") || acts("gone");
        while (acts("never")) pause();
        if (acts("ignored")) return SUCCESS;
    }
    if (acts("memory")) return OUT_OF_DEVICE_MEMORY;
    return number == struck && is_lost ? DEVICE_LOST : otherwise;
}

static int meet(int place, Word a, Word b, Word c, Word d, Word e, Word f) {
    int instead = answer(place);
    if (instead == 1) return following[place](a, b, c, d, e, f);
    // Pipelines that were not made are null.
    if (place == AT_vkCreateComputePipelines) memset((void *)f, 0, (uint32_t)c * sizeof(uint64_t));
    return instead;
}

#define WRAP(name) \
    static int own_##name(Word a, Word b, Word c, Word d, Word e, Word f) { return meet(AT_##name, a, b, c, d, e, f); }
FUNCTIONS(WRAP)
#define OWN(name) (Function)own_##name,
static const Function own[] = { FUNCTIONS(OWN) };

static Lookup next_instance_call, next_device_call;

// The part of what comes with a creation that tells where the next layer, or the driver, is.
static struct CreateInfo *find_link(const void *info, int type) {
    struct CreateInfo *at = ((struct CreateInfo *)info)->next;
    while (at && !(at->type == type && at->function == LAYER_LINK)) at = at->next;
    return at;
}

static int create_instance(const void *info, const void *allocator, void **instance) {
    struct CreateInfo *found = find_link(info, LOADER_INSTANCE_CREATE_INFO);
    if (!acts("gone")) is_lost = 0;
    int instead = answer(AT_vkCreateInstance);
    if (!found || instead != 1) return instead == 1 ? INITIALIZATION_FAILED : instead;
    struct InstanceLink *link = found->link;
    next_instance_call = link->instance_call;
    found->link = link->next;
    int (*create)(const void *, const void *, void **) = (void *)next_instance_call(NULL, "vkCreateInstance");
    return create(info, allocator, instance);
}

static int create_device(void *physical, const void *info, const void *allocator, void **device) {
    struct CreateInfo *found = find_link(info, LOADER_DEVICE_CREATE_INFO);
    int instead = answer(AT_vkCreateDevice);
    if (!found || instead != 1) return instead == 1 ? INITIALIZATION_FAILED : instead;
    struct DeviceLink *link = found->link;
    next_device_call = link->device_call;
    found->link = link->next;
    int (*create)(void *, const void *, const void *, void **) = (void *)link->instance_call(NULL, "vkCreateDevice");
    if (!create) create = (void *)next_instance_call(NULL, "vkCreateDevice");
    return create ? create(physical, info, allocator, device) : INITIALIZATION_FAILED;
}

static Function device_call(void *device, const char *name) {
    if (!strcmp(name, "vkGetDeviceProcAddr")) return (Function)device_call;
    Function next = next_device_call(device, name);
    for (int place = 0; next && place < (int)(sizeof own / sizeof *own); place++) {
        if (strcmp(name, names[place])) continue;
        following[place] = (Call)next;
        return own[place];
    }
    return next;
}

static Function instance_call(void *instance, const char *name) {
    if (!strcmp(name, "vkGetInstanceProcAddr")) return (Function)instance_call;
    if (!strcmp(name, "vkGetDeviceProcAddr")) return (Function)device_call;
    if (!strcmp(name, "vkCreateInstance")) return (Function)create_instance;
    if (!strcmp(name, "vkCreateDevice")) return (Function)create_device;
    return next_instance_call ? next_instance_call(instance, name) : NULL;
}

EXPORT int vkNegotiateLoaderLayerInterfaceVersion(struct Negotiation *with) {
    if (with->version > 2) with->version = 2;
    with->instance_call = instance_call;
    with->device_call = device_call;
    with->physical_device_call = NULL;
    return SUCCESS;
}

__attribute__((constructor)) static void look_at_file(void) { is_spent = !access(asked("FAULT_STRUCK"), F_OK); }

__attribute__((destructor)) static void write_calls(void) {
    FILE *file = fopen(asked("FAULT_CALLS"), "w");
    if (!file) return;
    for (int place = 0; place < COUNT; place++)
        if (called[place]) fprintf(file, "%s %d\n", names[place], called[place]);
    fclose(file);
}
