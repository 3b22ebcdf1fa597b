/* Preloaded into tools that know no port but 445 (smbcacls, smbcquotas): their connections go to $SMB_PORT instead. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

int connect(int fd, const struct sockaddr *address, socklen_t length)
{
	int (*next)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
	const char *port = getenv("SMB_PORT");
	if (port && address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
		struct sockaddr_in other = *(const struct sockaddr_in *)address;
		if (other.sin_port == htons(445)) {
			other.sin_port = htons(atoi(port));
			return next(fd, (struct sockaddr *)&other, sizeof other);
		}
	}
	return next(fd, address, length);
}
