// Loaded before the C library, it makes one call about a file of a run fail, or kills the process there. tests/faults/tools.rs builds it.
//
// What it does follows from the environment:
//   FAULT_FOLDER  the name of a folder: calls about what is in it count
//   FAULT_NUMBER  which of them is struck, counted from 1
//   FAULT_ACT     before  the process is killed before the call
//                 after   it is killed after the call
//                 ENOSPC  there is no room on the disk, for this call and later ones that need some
//                 EIO     this call fails
//                 EMFILE  no file can be opened, from this call on
//   FAULT_STRUCK  a file that is made when the call is struck
//   FAULT_CALLS   a file that gets a line for each call that counts: its kind
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// Every hidden function takes at most five numbers or pointers, each of which goes on as it came.
typedef long (*Call)(long, long, long, long, long);

static int calls;

static const char *asked(const char *variable) {
    const char *value = getenv(variable);
    return value ? value : "";
}

static int acts(const char *act) { return !strcmp(asked("FAULT_ACT"), act); }

// The kernel's own calls, which are not hidden.
static void append(const char *path, const char *line) {
    long file = *path ? syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_APPEND | O_WRONLY, 0644) : -1;
    if (file < 0) return;
    if (syscall(SYS_write, file, line, strlen(line)) < 0) abort();
    syscall(SYS_close, file);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

// Whether a path, or that of an open file, is in the folder.
static int counts(const char *path, long file) {
    char name[32], of_file[PATH_MAX];
    const char *folder = asked("FAULT_FOLDER");
    if (!*folder) return 0;
    if (!path) {
        snprintf(name, sizeof name, "/proc/self/fd/%ld", file);
        ssize_t length = readlink(name, of_file, sizeof of_file - 1);
        of_file[length < 0 ? 0 : length] = 0;
        path = of_file;
    }
    return strstr(path, folder) != NULL;
}

// The error of a struck call of this kind; 0: it is made.
static int error_of(const char *kind, int is_first) {
    int opens = !strcmp(kind, "open") || !strcmp(kind, "create");
    int needs_room = strcmp(kind, "open") && strcmp(kind, "read") && strcmp(kind, "unlink");
    if (acts("ENOSPC") && needs_room) return ENOSPC;
    if (acts("EMFILE") && opens) return EMFILE;
    return acts("EIO") && is_first ? EIO : 0;
}

static long meet(Call *next, const char *symbol, const char *kind, const char *path, long file, const long *with) {
    int saved = errno, does_count = counts(path, file), number = does_count ? __sync_add_and_fetch(&calls, 1) : 0;
    int struck = atoi(asked("FAULT_NUMBER")), is_struck = does_count && struck && number == struck;
    if (!*next) *next = (Call)dlsym(RTLD_NEXT, symbol);
    if (does_count) {
        char line[32];
        snprintf(line, sizeof line, "%s\n", kind);
        append(asked("FAULT_CALLS"), line);
    }
    if (is_struck) append(asked("FAULT_STRUCK"), kind);
    if (is_struck && acts("before")) die();
    int error = does_count && struck && number >= struck ? error_of(kind, is_struck) : 0;
    if (error) {
        errno = error;
        // opendir returns a pointer.
        return strcmp(symbol, "opendir") ? -1 : 0;
    }
    errno = saved;
    long result = (*next)(with[0], with[1], with[2], with[3], with[4]);
    if (is_struck && acts("after")) die();
    return result;
}

#define HIDE(symbol, kind, path, file) \
    long own_##symbol(long a, long b, long c, long d, long e) __asm__(#symbol); \
    long own_##symbol(long a, long b, long c, long d, long e) { \
        static Call next; \
        return meet(&next, #symbol, kind, (const char *)(path), file, (long[]){ a, b, c, d, e }); \
    }
#define OF_FLAGS(flags) ((flags) & O_CREAT ? "create" : "open")

HIDE(open, OF_FLAGS(b), a, 0)
HIDE(open64, OF_FLAGS(b), a, 0)
HIDE(openat, OF_FLAGS(c), b, 0)
HIDE(openat64, OF_FLAGS(c), b, 0)
HIDE(opendir, "open", a, 0)
HIDE(mkdir, "create", a, 0)
HIDE(rename, "rename", b, 0)
HIDE(renameat, "rename", d, 0)
HIDE(renameat2, "rename", d, 0)
HIDE(link, "link", b, 0)
HIDE(linkat, "link", d, 0)
HIDE(unlink, "unlink", a, 0)
HIDE(unlinkat, "unlink", b, 0)
HIDE(read, "read", 0, a)
HIDE(pread64, "read", 0, a)
HIDE(write, "write", 0, a)
HIDE(writev, "write", 0, a)
HIDE(pwrite64, "write", 0, a)
HIDE(copy_file_range, "write", 0, c)
HIDE(fsync, "sync", 0, a)
HIDE(fdatasync, "sync", 0, a)
HIDE(ftruncate, "truncate", 0, a)
HIDE(ftruncate64, "truncate", 0, a)
