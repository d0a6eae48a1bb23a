/* What a program does to the files under one folder, in the order in which it does it: for tests that cut the power.
 *
 * Loaded with LD_PRELOAD. POWERCUT_ROOT is the folder, POWERCUT_LOG the file that the records go to; without a log
 * nothing is recorded and the library only injects faults. Each record is a struct record, then its two byte strings;
 * recorder.py reads them. SQLite's -shm files are left out: they are rebuilt after a cut. Writes through a map are
 * not seen, so a shared writable map of a recorded file ends the program.
 *
 * The real calls are made as plain system calls (64-bit Linux), so no other library is in between.
 *
 * The program itself calls powercut_mark ("this is acknowledged now") and powercut_arm (see there) through ctypes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum op { OPEN = 1, WRITE, SIZE, SYNC, RENAME, UNLINK, LINK, MKDIR, RMDIR, MARK };
enum flag { CREATED = 1, EMPTIED = 2, FOLDER = 4 };
enum call { ON_OPEN = 1, ON_WRITE = 2, ON_SYNC = 4, ON_NAME = 8, ON_SIZE = 16 };

struct record {
  uint32_t op, handle;
  uint64_t offset;
  uint32_t first, second; /* lengths of what follows */
};

#define MOST_FDS 65536

static pthread_mutex_t turn = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static uint32_t handles[MOST_FDS]; /* by descriptor, 0 for what is not recorded */
static char *paths[MOST_FDS];
static uint32_t next_handle = 1;
static int log_fd = -2;
static char root[4096];
static size_t root_length;

static void begin(void) {
  pthread_mutex_lock(&turn);
  if (log_fd != -2) return;
  const char *folder = getenv("POWERCUT_ROOT"), *log = getenv("POWERCUT_LOG");
  log_fd = -1;
  if (folder) {
    root_length = strlen(folder);
    memcpy(root, folder, root_length + 1);
  }
  if (log) log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static void end(void) {
  int kept = errno;
  pthread_mutex_unlock(&turn);
  errno = kept;
}

static void put(enum op op, uint32_t handle, uint64_t offset, const void *first, size_t n, const void *second, size_t m) {
  if (log_fd < 0) return;
  int kept = errno;
  struct record r = {op, handle, offset, (uint32_t)n, (uint32_t)m};
  struct iovec parts[] = {{&r, sizeof r}, {(void *)first, n}, {(void *)second, m}};
  if (syscall(SYS_writev, log_fd, parts, 3) != (long)(sizeof r + n + m)) abort();
  errno = kept;
}

/* The path below the root, NULL for what is not ours. */
static const char *inside(const char *path) {
  if (!path || !root_length || strncmp(path, root, root_length) || path[root_length] != '/') return NULL;
  return path + root_length + 1;
}

static int recorded(const char *path) {
  size_t n = path ? strlen(path) : 0;
  return path && !(n > 4 && !strcmp(path + n - 4, "-shm"));
}

/* -- faults ------------------------------------------------------------------------------------------------------ */

static struct { int calls, error; long first, count, seen; char suffix[64]; } armed;

/* From the `first` matching call on (1 is the next), `count` calls fail with `error`; with error -9 the process is
 * killed there instead, and with -28 the first one writes half and the rest fail with ENOSPC, as a disk that fills
 * up does. `calls` is a sum of enum call; only paths that end in `suffix` count. Returns how many calls matched since
 * the last arming. */
long powercut_arm(int calls, int error, long first, long count, const char *suffix) {
  begin();
  long seen = armed.seen;
  memset(&armed, 0, sizeof armed);
  armed.calls = calls, armed.error = error, armed.first = first, armed.count = count;
  strncpy(armed.suffix, suffix, sizeof armed.suffix - 1);
  end();
  return seen;
}

static int fails(enum call call, const char *path, size_t *length) {
  if (!(armed.calls & call) || !path) return 0;
  size_t n = strlen(path), m = strlen(armed.suffix);
  if (n < m || strcmp(path + n - m, armed.suffix)) return 0;
  armed.seen++;
  if (armed.seen < armed.first || armed.seen >= armed.first + armed.count) return 0;
  if (armed.error == -9) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
  }
  if (armed.error == -ENOSPC && armed.seen == armed.first && length && *length > 1) {
    *length /= 2;
    return 0;
  }
  errno = armed.error < 0 ? -armed.error : armed.error;
  return 1;
}

void powercut_mark(const char *text, size_t length) { begin(); put(MARK, 0, 0, text, length, "", 0); end(); }

/* -- opening ----------------------------------------------------------------------------------------------------- */


static void opened(int fd, const char *path, int flags, int existed) {
  struct stat found;
  if (fd < 0 || fd >= MOST_FDS) return;
  handles[fd] = 0;
  free(paths[fd]);
  paths[fd] = strdup(path);
  if (!recorded(path) || fstat(fd, &found)) return;
  int folder = S_ISDIR(found.st_mode);
  handles[fd] = next_handle++;
  uint64_t how = (existed ? 0 : CREATED) | (flags & O_TRUNC ? EMPTIED : 0) | (folder ? FOLDER : 0);
  put(OPEN, handles[fd], how, path, strlen(path), "", 0);
}

static int open_it(int at, const char *path, int flags, mode_t mode) {
  const char *ours = inside(path);
  if (!ours) return (int)syscall(SYS_openat, at, path, flags, mode);
  begin();
  int fd = -1;
  if (!fails(ON_OPEN, ours, NULL)) {
    int existed = !faccessat(at, path, F_OK, AT_SYMLINK_NOFOLLOW);
    fd = (int)syscall(SYS_openat, at, path, flags, mode);
    opened(fd, ours, flags, existed);
  }
  end();
  return fd;
}

#define MODE(flags) \
  mode_t mode = 0; \
  if ((flags) & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }

int open(const char *path, int flags, ...) { MODE(flags) return open_it(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_it(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return open_it(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return open_it(at, path, flags | O_LARGEFILE, mode); }

int close(int fd) {
  begin();
  if (fd >= 0 && fd < MOST_FDS) {
    handles[fd] = 0;
    free(paths[fd]);
    paths[fd] = NULL;
  }
  int done = (int)syscall(SYS_close, fd);
  end();
  return done;
}

static void doubled(int from, int to) {
  if (from < 0 || to < 0 || from >= MOST_FDS || to >= MOST_FDS || from == to) return;
  handles[to] = handles[from];
  free(paths[to]);
  paths[to] = paths[from] ? strdup(paths[from]) : NULL;
}

int dup(int fd) { begin(); int to = (int)syscall(SYS_dup, fd); doubled(fd, to); end(); return to; }
int dup3(int fd, int to, int flags) {
  begin();
  to = (int)syscall(SYS_dup3, fd, to, flags);
  doubled(fd, to);
  end();
  return to;
}
int dup2(int fd, int to) { return fd == to ? fd : dup3(fd, to, 0); }

/* -- content ----------------------------------------------------------------------------------------------------- */

static const char *known(int fd) { return fd >= 0 && fd < MOST_FDS ? paths[fd] : NULL; }


static ssize_t pwrite_it(int fd, const void *data, size_t length, off_t offset) {
  const char *path = known(fd);
  if (!path) return syscall(SYS_pwrite64, fd, data, length, offset);
  begin();
  ssize_t done = -1;
  if (!fails(ON_WRITE, path, &length)) {
    done = syscall(SYS_pwrite64, fd, data, length, offset);
    if (done > 0 && handles[fd]) put(WRITE, handles[fd], (uint64_t)offset, data, (size_t)done, "", 0);
  }
  end();
  return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite_it(fd, data, length, offset); }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) { return pwrite_it(fd, data, length, offset); }

ssize_t write(int fd, const void *data, size_t length) {
  const char *path = known(fd);
  if (!path) return syscall(SYS_write, fd, data, length);
  begin();
  ssize_t done = -1;
  if (!fails(ON_WRITE, path, &length)) {
    struct stat found;
    int appends = fcntl(fd, F_GETFL) & O_APPEND;
    off_t offset = appends && !fstat(fd, &found) ? found.st_size : lseek(fd, 0, SEEK_CUR);
    done = syscall(SYS_write, fd, data, length);
    if (done > 0 && handles[fd]) put(WRITE, handles[fd], (uint64_t)offset, data, (size_t)done, "", 0);
  }
  end();
  return done;
}

/* Piece by piece: nobody may rely on a vector being written whole. An offset of -1 is where the descriptor stands. */
static ssize_t pieces(int fd, const struct iovec *parts, int count, off_t offset) {
  ssize_t sum = 0;
  for (int i = 0; i < count; i++) {
    const struct iovec *p = parts + i;
    ssize_t done = offset < 0 ? write(fd, p->iov_base, p->iov_len) : pwrite_it(fd, p->iov_base, p->iov_len, offset + sum);
    if (done < 0) return sum ? sum : -1;
    sum += done;
    if ((size_t)done < p->iov_len) break;
  }
  return sum;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  return known(fd) ? pieces(fd, parts, count, -1) : syscall(SYS_writev, fd, parts, count);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return pieces(fd, parts, count, offset); }

static int resize(int fd, off_t size) {
  const char *path = known(fd);
  if (!path) return (int)syscall(SYS_ftruncate, fd, size);
  begin();
  int done = -1;
  if (!fails(ON_SIZE, path, NULL)) {
    done = (int)syscall(SYS_ftruncate, fd, size);
    if (!done && handles[fd]) put(SIZE, handles[fd], (uint64_t)size, "", 0, "", 0);
  }
  end();
  return done;
}

int ftruncate(int fd, off_t size) { return resize(fd, size); }
int ftruncate64(int fd, off64_t size) { return resize(fd, size); }

int truncate(const char *path, off_t size) {
  if (!inside(path)) return (int)syscall(SYS_truncate, path, size);
  int fd = open(path, O_WRONLY | O_CLOEXEC), done = fd < 0 ? -1 : resize(fd, size);
  if (fd >= 0) close(fd);
  return done;
}
int truncate64(const char *path, off64_t size) { return truncate(path, size); }

static int allocate(int fd, off_t offset, off_t length) {
  struct stat found;
  if (fstat(fd, &found) || found.st_size >= offset + length) return 0;
  return resize(fd, offset + length);
}

int posix_fallocate(int fd, off_t offset, off_t length) {
  if (known(fd)) return allocate(fd, offset, length) ? errno : 0;
  return syscall(SYS_fallocate, fd, 0, offset, length) ? errno : 0;
}
int posix_fallocate64(int fd, off64_t offset, off64_t length) { return posix_fallocate(fd, offset, length); }
int fallocate(int fd, int mode, off_t offset, off_t length) {
  if (!known(fd)) return (int)syscall(SYS_fallocate, fd, mode, offset, length);
  if (!mode) return allocate(fd, offset, length);
  errno = EOPNOTSUPP;
  return -1;
}
int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return fallocate(fd, mode, offset, length); }

static int sync_it(int fd, int data_only) {
  const char *path = known(fd);
  long number = data_only ? SYS_fdatasync : SYS_fsync;
  if (!path) return (int)syscall(number, fd);
  begin();
  int done = -1;
  if (!fails(ON_SYNC, path, NULL)) {
    done = (int)syscall(number, fd);
    if (!done && handles[fd]) put(SYNC, handles[fd], 0, "", 0, "", 0);
  }
  end();
  return done;
}

int fsync(int fd) { return sync_it(fd, 0); }
int fdatasync(int fd) { return sync_it(fd, 1); }

static void *map_it(void *at, size_t length, int protection, int flags, int fd, off_t offset) {
  if (fd >= 0 && fd < MOST_FDS && handles[fd] && (flags & MAP_SHARED) && (protection & PROT_WRITE)) {
    fprintf(stderr, "recorder: %s is written through a map, which cannot be recorded\n", paths[fd]);
    abort();
  }
  return (void *)syscall(SYS_mmap, at, length, protection, flags, fd, offset);
}

void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t o) { return map_it(at, n, prot, flags, fd, o); }
void *mmap64(void *at, size_t n, int prot, int flags, int fd, off64_t o) { return map_it(at, n, prot, flags, fd, o); }

/* -- names ------------------------------------------------------------------------------------------------------- */


#define NAMED(op, path, other, call) \
  const char *ours = inside(path), *second = inside(other); \
  if (!ours) return call; \
  begin(); \
  int done = -1; \
  if (!fails(ON_NAME, ours, NULL) && !(done = call) && recorded(ours)) \
    put(op, 0, 0, ours, strlen(ours), second ? second : "", second ? strlen(second) : 0); \
  end(); \
  return done

int rename(const char *from, const char *to) { NAMED(RENAME, from, to, (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to)); }
int link(const char *from, const char *to) { NAMED(LINK, from, to, (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0)); }
int unlink(const char *path) { NAMED(UNLINK, path, NULL, (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0)); }
int mkdir(const char *path, mode_t mode) { NAMED(MKDIR, path, NULL, (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode)); }
int rmdir(const char *path) { NAMED(RMDIR, path, NULL, (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR)); }

/* What the agent does not use: a call would go unrecorded, so it ends the program instead. */
int symlink(const char *to, const char *path) {
  if (log_fd >= 0 && inside(path)) abort();
  return (int)syscall(SYS_symlinkat, to, AT_FDCWD, path);
}

static void refuse_at(int at, const char *path) {
  if (log_fd >= 0 && (inside(path) || (path && path[0] != '/' && known(at)))) abort();
}

int renameat(int at, const char *from, int to_at, const char *to) {
  refuse_at(at, from);
  return (int)syscall(SYS_renameat, at, from, to_at, to);
}
int unlinkat(int at, const char *path, int flags) { refuse_at(at, path); return (int)syscall(SYS_unlinkat, at, path, flags); }
int mkdirat(int at, const char *path, mode_t mode) { refuse_at(at, path); return (int)syscall(SYS_mkdirat, at, path, mode); }
