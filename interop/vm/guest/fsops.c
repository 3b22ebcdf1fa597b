/*
 * fsops TEST DIR: one check of file system behaviour in DIR.  Exit status 0 passed, 1 failed, 2 not supported (errno is printed).
 * fsops list: the tests.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char *dir;
static char pb[8][600];
static int pn;
static char *P(const char *f, ...)
{
	char *b = pb[pn++ % 8];
	int n = sprintf(b, "%s/", dir);
	va_list ap;
	va_start(ap, f);
	vsnprintf(b + n, 500, f, ap);
	va_end(ap);
	return b;
}
#define FAIL(...) do { printf(__VA_ARGS__); printf("\n"); return 1; } while (0)
#define CK(x) do { if (!(x)) FAIL("line %d: %s: %s", __LINE__, #x, strerror(errno)); } while (0)
#define SYS(x) do { if ((x) < 0) FAIL("line %d: %s: %s", __LINE__, #x, strerror(errno)); } while (0)
#define SUP(x) do { if ((x) < 0) { if (errno == EOPNOTSUPP || errno == ENOTTY || errno == ENOSYS) { printf("%s: %s\n", #x, strerror(errno)); return 2; } \
	FAIL("line %d: %s: %s", __LINE__, #x, strerror(errno)); } } while (0)

static int put(const char *p, const void *d, size_t n)
{
	int fd = open(p, O_CREAT | O_TRUNC | O_WRONLY, 0644);
	if (fd < 0 || write(fd, d, n) != (ssize_t)n)
		return -1;
	return close(fd);
}
static int same(const char *p, const void *d, size_t n)
{
	char *b = malloc(n + 1);
	int fd = open(p, O_RDONLY);
	size_t g = 0;
	ssize_t r;
	if (fd < 0)
		return 0;
	while (g <= n && (r = read(fd, b + g, n + 1 - g)) > 0)
		g += r;
	close(fd);
	r = g == n && !memcmp(b, d, n);
	free(b);
	return r;
}
static int t_basic(void)
{
	char *a = P("b1"), *b = P("b2"), *d = P("bd"), *e = P("bd/x");
	struct stat st;
	CK(!put(a, "hello", 5) && same(a, "hello", 5));
	SYS(stat(a, &st));
	CK(st.st_size == 5 && S_ISREG(st.st_mode));
	CK(open(a, O_CREAT | O_EXCL | O_RDWR, 0644) < 0 && errno == EEXIST);
	SYS(rename(a, b));
	CK(stat(a, &st) < 0 && errno == ENOENT);
	CK(!put(a, "new", 3));
	SYS(rename(a, b));	/* over an existing file */
	CK(same(b, "new", 3));
	SYS(mkdir(d, 0755));
	CK(mkdir(d, 0755) < 0 && errno == EEXIST);
	SYS(rename(b, e));
	CK(rmdir(d) < 0 && errno == ENOTEMPTY);
	SYS(rename(d, P("bd2")));
	CK(same(P("bd2/x"), "new", 3));
	CK(unlink(P("bd2")) < 0 && (errno == EISDIR || errno == EPERM || errno == EACCES));
	CK(rmdir(P("bd2/x")) < 0 && errno == ENOTDIR);
	CK(open(P("nodir/x"), O_RDONLY) < 0 && errno == ENOENT);
	SYS(unlink(P("bd2/x")));
	SYS(rmdir(P("bd2")));
	CK(unlink(P("none")) < 0 && errno == ENOENT);
	return 0;
}
static int t_names(void)
{
	char lng[256];
	memset(lng, 'x', 255);
	lng[255] = 0;
	const char *n[] = { "caf\xc3\xa9", "\xe6\x97\xa5\xe6\x9c\xac", "\xf0\x9f\x98\x80 emoji", "with space", "UPPER", "a.b.c.d", ".hidden", "semi;colon",
			    "trail.", "trail ", "col:on", "que?st", "st*ar", "pi|pe", "quo\"te", "l<t>", "back\\slash", lng, 0 };
	int bad = 0;
	SYS(mkdir(P("nm"), 0755));
	for (int i = 0; n[i]; i++) {
		char *p = P("nm/%s", n[i]);
		if (put(p, n[i], strlen(n[i]))) {
			printf("create '%.40s': %s; ", n[i], strerror(errno));
			bad += i < 8;
			continue;
		}
		DIR *d = opendir(P("nm"));
		struct dirent *e;
		int seen = 0;
		while ((e = readdir(d)))
			seen |= !strcmp(e->d_name, n[i]);
		closedir(d);
		if (!seen)
			printf("'%.40s' is not listed; ", n[i]), bad++;
		if (unlink(p))
			printf("unlink '%.40s': %s; ", n[i], strerror(errno)), bad++;
	}
	SYS(rmdir(P("nm")));
	if (bad)
		printf("\n");
	return bad > 0;
}
static int t_bigdir(void)
{
	int n = 600, seen = 0;
	SYS(mkdir(P("big"), 0755));
	char *mark = calloc(n, 1);
	for (int i = 0; i < n; i++)
		CK(!put(P("big/file-with-a-rather-long-name-%06d", i), "", 0));
	DIR *d = opendir(P("big"));
	struct dirent *e;
	while ((e = readdir(d)))
		if (e->d_name[0] == 'f') {
			int i = atoi(e->d_name + 29 + 3);
			CK(i >= 0 && i < n && !mark[i]);
			mark[i] = 1;
			seen++;
		}
	if (seen != n)
		FAIL("%d of %d names listed", seen, n);
	rewinddir(d);
	seen = 0;
	while ((e = readdir(d)))	/* removing what one lists */
		if (e->d_name[0] == 'f') {
			SYS(unlink(P("big/%s", e->d_name)));
			seen++;
		}
	closedir(d);
	if (seen != n)
		FAIL("%d of %d names listed while removing", seen, n);
	SYS(rmdir(P("big")));
	return 0;
}
static int t_statfs(void)
{
	struct statfs s;
	SYS(statfs(dir, &s));
	printf("type %#lx bsize %ld blocks %ld bfree %ld bavail %ld namelen %ld\n", (long)s.f_type, (long)s.f_bsize, (long)s.f_blocks,
	       (long)s.f_bfree, (long)s.f_bavail, (long)s.f_namelen);
	CK(s.f_blocks > 0 && s.f_bfree <= s.f_blocks && s.f_bsize >= 512 && s.f_namelen >= 255);
	return 0;
}
static int t_times(void)
{
	char *a = P("tm");
	struct stat st;
	struct timespec ts[2] = { { 1000000000, 123456700 }, { 1100000000, 765432100 } };
	CK(!put(a, "x", 1));
	SYS(utimensat(AT_FDCWD, a, ts, 0));
	SYS(stat(a, &st));
	CK(st.st_mtim.tv_sec == 1100000000 && st.st_atim.tv_sec == 1000000000);
	printf("mtime nanoseconds kept: %ld\n", st.st_mtim.tv_nsec);
	CK(st.st_mtim.tv_nsec / 100 == 7654321);
	CK(!put(a, "yy", 2));
	SYS(stat(a, &st));
	CK(st.st_mtim.tv_sec > 1500000000);
	SYS(unlink(a));
	return 0;
}
static int t_chmod(void)
{
	char *a = P("cm");
	struct stat st;
	CK(!put(a, "x", 1));
	SYS(chmod(a, 0444));
	SYS(stat(a, &st));
	printf("mode after chmod 444: %o\n", st.st_mode & 07777);
	CK(!(st.st_mode & 0222));
	SYS(chmod(a, 0644));	/* without POSIX modes only the read-only attribute is there, and a lease keeps it cached */
	SYS(stat(a, &st));
	printf("mode after chmod 644: %o\n", st.st_mode & 07777);
	SYS(unlink(a));	/* also of a read-only file: STATUS_CANNOT_DELETE, attribute cleared, once more */
	return 0;
}
static int t_append(void)
{
	char *a = P("ap");
	CK(!put(a, "", 0));
	int f = open(a, O_WRONLY | O_APPEND), g = open(a, O_WRONLY | O_APPEND);
	SYS(f);
	SYS(g);
	for (int i = 0; i < 20; i++)
		CK(write(i & 1 ? f : g, i & 1 ? "b" : "a", 1) == 1);
	close(f);
	close(g);
	CK(same(a, "abababababababababab", 20));
	SYS(unlink(a));
	return 0;
}
static int t_trunc(void)
{
	char *a = P("tr"), z[9000];
	memset(z, 0, sizeof z);
	memset(z, 'q', 100);
	CK(!put(a, z, 100));
	SYS(truncate(a, 9000));
	CK(same(a, z, 9000));
	SYS(truncate(a, 50));
	SYS(truncate(a, 200));
	memset(z + 50, 0, 150);
	CK(same(a, z, 200));
	SYS(unlink(a));
	return 0;
}
static int t_openunlink(void)	/* a removed file stays usable while open (silly rename or delete pending) */
{
	char *a = P("ou"), b[8];
	int f = open(a, O_CREAT | O_RDWR, 0644);
	SYS(f);
	CK(write(f, "kept", 4) == 4);
	SYS(unlink(a));
	if (!access(a, F_OK))	/* the client asks through the handle it still has */
		printf("the removed name is still seen while open\n");
	CK(pread(f, b, 4, 0) == 4 && !memcmp(b, "kept", 4));
	CK(pwrite(f, "more", 4, 4) == 4);
	SYS(close(f));
	CK(!put(a, "again", 5) && same(a, "again", 5));
	SYS(unlink(a));
	return 0;
}
static int t_openrename(void)
{
	char *a = P("or1"), *b = P("or2");
	int f = open(a, O_CREAT | O_RDWR, 0644);
	SYS(f);
	CK(write(f, "one", 3) == 3);
	SYS(rename(a, b));
	CK(pwrite(f, "two", 3, 0) == 3);
	SYS(close(f));
	CK(same(b, "two", 3));
	SYS(unlink(b));
	return 0;
}
static int t_hardlink(void)
{
	char *a = P("h1"), *b = P("h2");
	struct stat s1, s2;
	CK(!put(a, "link", 4));
	SUP(link(a, b));
	SYS(stat(a, &s1));
	SYS(stat(b, &s2));
	printf("nlink %ld %ld, inode %s\n", (long)s1.st_nlink, (long)s2.st_nlink, s1.st_ino == s2.st_ino ? "same" : "differs");
	if (s1.st_nlink != 2 || s1.st_ino != s2.st_ino)
		return 1;
	CK(link(a, b) < 0 && errno == EEXIST);
	int f = open(b, O_RDONLY);
	if (f < 0 && errno == EINVAL) {	/* MS-SMB2 3.3.5.9.8: the lease key is bound to the other name */
		unlink(b);
		unlink(a);
		printf("second name cannot be opened while the first's lease is held (STATUS_INVALID_PARAMETER)\n");
		return 2;
	}
	close(f);
	CK(same(b, "link", 4));
	SYS(unlink(a));
	CK(same(b, "link", 4));
	SYS(unlink(b));
	return 0;
}
static int t_symlink(void)
{
	char *a = P("s1"), b[64];
	if (symlink("target/file", a) < 0) {
		printf("symlink: %s\n", strerror(errno));
		return errno == EOPNOTSUPP || errno == EPERM || errno == EACCES || errno == ENOSYS || errno == EIO ? 2 : 1;
	}
	ssize_t n = readlink(a, b, sizeof b);
	struct stat st;
	CK(n == 11 && !memcmp(b, "target/file", 11));
	SYS(lstat(a, &st));
	CK(S_ISLNK(st.st_mode));
	SYS(unlink(a));
	return 0;
}
static int t_special(void)	/* fifo: needs sfu/NFS reparse points */
{
	char *a = P("fifo");
	struct stat st;
	if (mknod(a, S_IFIFO | 0644, 0) < 0) {
		printf("mknod: %s\n", strerror(errno));
		return 2;
	}
	SYS(lstat(a, &st));
	SYS(unlink(a));
	printf("mode %o\n", st.st_mode);
	return S_ISFIFO(st.st_mode) ? 0 : 2;
}
static int t_xattr(void)
{
	char *a = P("xa"), b[300], big[2000];
	CK(!put(a, "x", 1));
	SUP(setxattr(a, "user.color", "blue", 4, 0));
	CK(getxattr(a, "user.color", b, sizeof b) == 4 && !memcmp(b, "blue", 4));
	SYS(setxattr(a, "user.second", "", 0, 0) < 0 && errno != EINVAL ? -1 : 0);
	SYS(setxattr(a, "user.second", "2", 1, 0));
	ssize_t n = listxattr(a, b, sizeof b);
	CK(n > 0 && memmem(b, n, "user.color", 11) && memmem(b, n, "user.second", 12));
	memset(big, 'B', sizeof big);
	SYS(setxattr(a, "user.color", big, sizeof big, 0));
	CK(getxattr(a, "user.color", 0, 0) == sizeof big);
	SYS(removexattr(a, "user.color"));
	CK(getxattr(a, "user.color", b, sizeof b) < 0 && errno == ENODATA);
	SYS(unlink(a));
	return 0;
}
static int t_acl(void)	/* the security descriptor, as cifs shows it */
{
	char *a = P("acl"), b[65536], c[65536];
	CK(!put(a, "x", 1));
	ssize_t n = getxattr(a, "system.cifs_acl", b, sizeof b);
	SUP(n);
	printf("cifs_acl %zd bytes, revision %d", n, b[0]);
	SUP(setxattr(a, "system.cifs_acl", b, n, 0));
	CK(getxattr(a, "system.cifs_acl", c, sizeof c) > 0);
	n = getxattr(a, "system.cifs_ntsd", b, sizeof b);
	printf(", cifs_ntsd %zd\n", n);
	n = getxattr(a, "user.cifs.dosattrib", b, sizeof b);
	if (n == 4)
		printf("dosattrib %#x\n", *(uint32_t *)b);
	n = getxattr(a, "user.cifs.creationtime", b, sizeof b);
	CK(n == 8);
	SYS(unlink(a));
	return 0;
}
static int t_sparse(void)
{
	char *a = P("sp");
	struct stat st;
	int f = open(a, O_CREAT | O_RDWR | O_TRUNC, 0644);
	SYS(f);
	SYS(ftruncate(f, 8 << 20));
	CK(pwrite(f, "end", 3, (8 << 20) - 3) == 3);
	SYS(fsync(f));
	SYS(fstat(f, &st));
	printf("size %ld, blocks %ld", (long)st.st_size, (long)st.st_blocks);
	SUP(fallocate(f, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 1 << 20, 2 << 20));
	CK(pwrite(f, "mid", 3, 4 << 20) == 3);
	SYS(fsync(f));
	SYS(fstat(f, &st));
	printf(", after punch and write %ld blocks", (long)st.st_blocks);
	off_t d = lseek(f, 0, SEEK_DATA), h = lseek(f, 4 << 20, SEEK_HOLE), e = lseek(f, 5 << 20, SEEK_DATA);
	printf(", data at %#lx, hole at %#lx, data at %#lx\n", (long)d, (long)h, (long)e);
	CK(st.st_size == 8 << 20);
	close(f);
	SYS(unlink(a));
	return 0;
}
static int t_seekhole(void)
{
	char *a = P("sh");
	static char b[65536];
	memset(b, 'd', sizeof b);
	int f = open(a, O_CREAT | O_RDWR | O_TRUNC, 0644);
	SYS(f);
	SUP(fallocate(f, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 4096));	/* makes cifs set the sparse attribute */
	CK(pwrite(f, b, sizeof b, 1 << 20) == sizeof b);
	CK(pwrite(f, b, sizeof b, 4 << 20) == sizeof b);
	SYS(fsync(f));
	off_t d1 = lseek(f, 0, SEEK_DATA), h1 = lseek(f, d1, SEEK_HOLE), d2 = lseek(f, h1, SEEK_DATA), h0 = lseek(f, 0, SEEK_HOLE);
	printf("hole %#lx data %#lx hole %#lx data %#lx\n", (long)h0, (long)d1, (long)h1, (long)d2);
	CK(lseek(f, 8 << 20, SEEK_DATA) < 0 && errno == ENXIO);
	close(f);
	SYS(unlink(a));
	return h0 == 0 && d1 == 1 << 20 && h1 == (1 << 20) + 65536 && d2 == 4 << 20 ? 0 : 2;
}
static int t_fallocate(void)
{
	char *a = P("fa");
	static char b[1 << 20], z[1 << 20];
	struct stat st;
	int f = open(a, O_CREAT | O_RDWR | O_TRUNC, 0644), un = 0;
	SYS(f);
	memset(b, 'f', sizeof b);
	CK(pwrite(f, b, sizeof b, 0) == sizeof b);
	const struct { const char *n; int m; long o, l; } t[] = {
		{ "prealloc", 0, 0, 2 << 20 }, { "keep-size", FALLOC_FL_KEEP_SIZE, 2 << 20, 1 << 20 },
		{ "punch", FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 65536, 65536 }, { "zero", FALLOC_FL_ZERO_RANGE, 262144, 65536 },
		{ "collapse", FALLOC_FL_COLLAPSE_RANGE, 0, 65536 }, { "insert", FALLOC_FL_INSERT_RANGE, 65536, 65536 } };
	for (int i = 0; i < 6; i++) {
		int r = fallocate(f, t[i].m, t[i].o, t[i].l);
		printf("%s%s %s", i ? ", " : "", t[i].n, r ? strerror(errno) : "ok");
		if (r && errno != EOPNOTSUPP)
			un |= 1;
		if (r)
			un |= 2;
		SYS(fstat(f, &st));
		if (!r && i == 0 && st.st_size != 2 << 20)
			FAIL(" but size is %ld", (long)st.st_size);
		if (!r && i == 1 && st.st_size != 2 << 20)
			FAIL(" but size became %ld", (long)st.st_size);
		if (!r && (i == 2 || i == 3))
			CK(pread(f, b, 65536, t[i].o) == 65536 && !memcmp(b, z, 65536));
		if (!r && i == 4)
			CK(st.st_size == (2 << 20) - 65536 && pread(f, b, 1, 0) == 1 && b[0] == 0);
		if (!r && i == 5)
			CK(pread(f, b, 65536, 65536) == 65536 && !memcmp(b, z, 65536));
	}
	printf("\n");
	close(f);
	SYS(unlink(a));
	return un & 1;
}
static int t_copyrange(void)
{
	char *a = P("c1"), *b = P("c2");
	long n = 3000001;
	char *d = malloc(n);
	for (long i = 0; i < n; i++)
		d[i] = i * 31 + (i >> 9);
	CK(!put(a, d, n));
	int f = open(a, O_RDONLY), g = open(b, O_CREAT | O_RDWR | O_TRUNC, 0644);
	long left = n, calls = 0;
	while (left > 0) {
		ssize_t r = copy_file_range(f, 0, g, 0, left, 0);
		if (!calls)
			SUP(r);
		CK(r > 0);
		left -= r;
		calls++;
	}
	close(f);
	close(g);
	CK(same(b, d, n));
	printf("%ld bytes in %ld calls\n", n, calls);
	SYS(unlink(a));
	SYS(unlink(b));
	return 0;
}
static int t_clone(void)	/* FICLONE: FSCTL_DUPLICATE_EXTENTS_TO_FILE, needs FILE_SUPPORTS_BLOCK_REFCOUNTING */
{
	char *a = P("k1"), *b = P("k2");
	long n = 1 << 20;
	char *d = malloc(n);
	memset(d, 'k', n);
	CK(!put(a, d, n));
	int f = open(a, O_RDONLY), g = open(b, O_CREAT | O_RDWR | O_TRUNC, 0644);
	int r = ioctl(g, FICLONE, f);
	if (r < 0) {
		printf("FICLONE: %s\n", strerror(errno));
		unlink(a);
		unlink(b);
		return errno == EOPNOTSUPP || errno == ENOTTY || errno == EINVAL || errno == EIO ? 2 : 1;
	}
	close(f);
	close(g);
	CK(same(b, d, n));
	SYS(unlink(a));
	SYS(unlink(b));
	return 0;
}
static int lockop(int fd, int cmd, int type, long at, long len)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = len };
	return fcntl(fd, cmd, &l);
}
static int t_fcntl(void)	/* byte-range locks between two processes, and waiting for one */
{
	char *a = P("lk");
	int p[2], q[2], st;
	char c;
	CK(!put(a, "0123456789", 10));
	CK(!pipe(p) && !pipe(q));
	int f = open(a, O_RDWR);
	SYS(f);
	SUP(lockop(f, F_SETLK, F_WRLCK, 0, 5));
	pid_t k = fork();
	if (!k) {
		int g = open(a, O_RDWR);
		if (lockop(g, F_SETLK, F_WRLCK, 2, 2) == 0 || (errno != EAGAIN && errno != EACCES))
			_exit(10);
		if (lockop(g, F_SETLK, F_WRLCK, 6, 2))
			_exit(11);
		if (write(p[1], "x", 1) != 1 || read(q[0], &c, 1) != 1)
			_exit(12);
		alarm(20);
		if (lockop(g, F_SETLKW, F_WRLCK, 0, 5))	/* waits for the parent */
			_exit(13);
		_exit(0);
	}
	CK(read(p[0], &c, 1) == 1);
	CK(lockop(f, F_SETLK, F_RDLCK, 6, 1) < 0);
	CK(write(q[1], "x", 1) == 1);
	usleep(500000);
	SYS(lockop(f, F_SETLK, F_UNLCK, 0, 5));
	waitpid(k, &st, 0);
	if (st)
		FAIL("child: %d", WIFEXITED(st) ? WEXITSTATUS(st) : -WTERMSIG(st));
	close(f);
	SYS(unlink(a));
	return 0;
}
static int t_flock(void)
{
	char *a = P("fl");
	int st;
	CK(!put(a, "x", 1));
	int f = open(a, O_RDWR);
	SUP(flock(f, LOCK_EX));
	pid_t k = fork();
	if (!k) {
		int g = open(a, O_RDWR);
		if (flock(g, LOCK_EX | LOCK_NB) == 0 || (errno != EWOULDBLOCK && errno != EACCES))
			_exit(10);
		alarm(20);
		_exit(flock(g, LOCK_SH) ? 11 : 0);
	}
	usleep(500000);
	SYS(flock(f, LOCK_UN));
	waitpid(k, &st, 0);
	if (st)
		FAIL("child: %d", WIFEXITED(st) ? WEXITSTATUS(st) : -WTERMSIG(st));
	close(f);
	SYS(unlink(a));
	return 0;
}
static int t_ofd(void)
{
	char *a = P("of");
	CK(!put(a, "0123456789", 10));
	int f = open(a, O_RDWR), g = open(a, O_RDWR);
	struct flock l = { .l_type = F_WRLCK, .l_len = 5 };
	SUP(fcntl(f, F_OFD_SETLK, &l));
	CK(fcntl(g, F_OFD_SETLK, &l) < 0 && (errno == EAGAIN || errno == EACCES));
	close(f);
	l.l_type = F_WRLCK;
	SYS(fcntl(g, F_OFD_SETLK, &l));
	close(g);
	SYS(unlink(a));
	return 0;
}
static int t_mmap(void)
{
	char *a = P("mm");
	long n = 300000;
	char *d = malloc(n);
	for (long i = 0; i < n; i++)
		d[i] = i * 13;
	CK(!put(a, d, n));
	int f = open(a, O_RDWR);
	char *m = mmap(0, n, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
	CK(m != MAP_FAILED);
	CK(!memcmp(m, d, n));
	memset(m + 5000, 'M', 20000);
	memset(d + 5000, 'M', 20000);
	SYS(msync(m, n, MS_SYNC));
	char c;
	CK(pread(f, &c, 1, 5000) == 1 && c == 'M');
	munmap(m, n);
	close(f);
	CK(same(a, d, n));
	SYS(unlink(a));
	return 0;
}
static int t_direct(void)
{
	char *a = P("di");
	void *b, *c;
	CK(!posix_memalign(&b, 4096, 1 << 20) && !posix_memalign(&c, 4096, 1 << 20));
	memset(b, 'D', 1 << 20);
	int f = open(a, O_CREAT | O_RDWR | O_DIRECT | O_TRUNC, 0644);
	SUP(f);
	CK(pwrite(f, b, 1 << 20, 4096) == 1 << 20);
	CK(pread(f, c, 1 << 20, 4096) == 1 << 20 && !memcmp(b, c, 1 << 20));
	close(f);
	SYS(unlink(a));
	return 0;
}
static int t_bigio(void)	/* 64 MiB through the page cache and back after dropping it */
{
	char *a = P("bg");
	long n = 64 << 20, bs = 1 << 20;
	char *b = malloc(bs), *c = malloc(bs);
	struct timeval t0, t1, t2;
	int f = open(a, O_CREAT | O_RDWR | O_TRUNC, 0644);
	SYS(f);
	gettimeofday(&t0, 0);
	for (long i = 0; i < n; i += bs) {
		for (long k = 0; k < bs / 8; k++)
			((long *)b)[k] = i + k * 2654435761L;
		CK(write(f, b, bs) == bs);
	}
	SYS(fsync(f));
	close(f);
	gettimeofday(&t1, 0);
	f = open("/proc/sys/vm/drop_caches", O_WRONLY);
	if (f >= 0 && write(f, "3", 1))
		close(f);
	f = open(a, O_RDONLY);
	for (long i = 0; i < n; i += bs) {
		for (long g = 0; g < bs;) {
			ssize_t r = read(f, c + g, bs - g);
			CK(r > 0);
			g += r;
		}
		for (long k = 0; k < bs / 8; k++)
			CK(((long *)c)[k] == i + k * 2654435761L);
	}
	close(f);
	gettimeofday(&t2, 0);
	double w = t1.tv_sec - t0.tv_sec + (t1.tv_usec - t0.tv_usec) / 1e6, r = t2.tv_sec - t1.tv_sec + (t2.tv_usec - t1.tv_usec) / 1e6;
	printf("write %.1f MiB/s, read %.1f MiB/s\n", 64 / w, 64 / r);
	SYS(unlink(a));
	return 0;
}
static int t_inotify(void)	/* what this client does itself; the server's changes come by t_notify */
{
	int n = inotify_init1(IN_NONBLOCK);
	SYS(inotify_add_watch(n, dir, IN_CREATE | IN_DELETE));
	CK(!put(P("in"), "x", 1));
	SYS(unlink(P("in")));
	char b[4096];
	CK(read(n, b, sizeof b) > 0);
	return 0;
}
#define CIFS_IOCTL_MAGIC 0xCF
struct smb3_notify { uint32_t completion_filter; uint8_t watch_tree; } __attribute__((packed));
#define CIFS_IOC_NOTIFY _IOW(CIFS_IOCTL_MAGIC, 9, struct smb3_notify)
static int t_notify(void)	/* SMB2 CHANGE_NOTIFY: returns when something changed */
{
	int st;
	SYS(mkdir(P("nt"), 0755));
	char *w = P("nt"), *x = P("nt/new");
	pid_t k = fork();
	if (!k) {
		struct smb3_notify s = { .completion_filter = 0x17, .watch_tree = 0 };
		int d = open(w, O_RDONLY | O_DIRECTORY);
		alarm(15);
		int r = ioctl(d, CIFS_IOC_NOTIFY, &s);
		if (r < 0 && (errno == EOPNOTSUPP || errno == ENOTTY))
			_exit(2);
		if (r < 0)
			perror("CIFS_IOC_NOTIFY");
		_exit(r < 0 ? 3 : 0);
	}
	sleep(1);
	CK(!put(x, "x", 1));
	waitpid(k, &st, 0);
	unlink(x);
	rmdir(w);
	if (WIFSIGNALED(st))
		FAIL("no answer to the notify request within 15 s of the change");
	return WEXITSTATUS(st) > 2 ? 1 : WEXITSTATUS(st);
}
static int t_many(void)	/* many files open at once */
{
	int f[200];
	for (int i = 0; i < 200; i++) {
		f[i] = open(P("mo%d", i), O_CREAT | O_RDWR, 0644);
		SYS(f[i]);
		CK(write(f[i], &i, sizeof i) == sizeof i);
	}
	for (int i = 0; i < 200; i++) {
		int v = -1;
		CK(pread(f[i], &v, sizeof v, 0) == sizeof v && v == i);
		close(f[i]);
		SYS(unlink(P("mo%d", i)));
	}
	return 0;
}
#define T(n) { #n, t_##n }
static const struct { const char *n; int (*f)(void); } tests[] = { T(basic), T(names), T(bigdir), T(statfs), T(times), T(chmod), T(append),
	T(trunc), T(openunlink), T(openrename), T(hardlink), T(symlink), T(special), T(xattr), T(acl), T(sparse), T(seekhole), T(fallocate),
	T(copyrange), T(clone), T(fcntl), T(flock), T(ofd), T(mmap), T(direct), T(bigio), T(inotify), T(notify), T(many) };
int main(int c, char **v)
{
	int n = sizeof tests / sizeof *tests;
	if (c == 2 && !strcmp(v[1], "list")) {
		for (int i = 0; i < n; i++)
			printf("%s\n", tests[i].n);
		return 0;
	}
	if (c != 3)
		return 2;
	dir = v[2];
	for (int i = 0; i < n; i++)
		if (!strcmp(tests[i].n, v[1]))
			return tests[i].f();
	fprintf(stderr, "no such test\n");
	return 1;
}
