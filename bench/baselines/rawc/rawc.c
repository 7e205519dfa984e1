/* A baseline, the floor: raw TCP in one loop over epoll, one write for each
 * client and message. The same protocol as rawgo: messages behind a u16 length,
 * of which a client's first names its room; integers are big-endian. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FD = 32768, MAX_ROOMS = 65536, MAX_ECHOES = 14, MAX_FRESH = 4096, HEAD = 20, ECHO = 16, KEEP = 512 };

struct room {
	int *clients, n, room;
	uint64_t seq;
	int64_t due;
	unsigned char fresh[MAX_FRESH][ECHO];
	int nfresh;
};

struct client {
	struct room *room;
	int at, have;
	unsigned char in[KEEP];
};

static struct client *clients[MAX_FD];
static struct room *rooms[MAX_ROOMS], *order[MAX_ROOMS];
static int nrooms, tick = 20, size = 256, messages = 1, echo;
static int64_t every;
static unsigned char out[2 + 65535];

static int64_t now_ns(clockid_t c) {
	struct timespec t;
	clock_gettime(c, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *what) {
	perror(what);
	exit(1);
}

/* What a socket does not take is left out. */
static void put(int fd, const void *p, size_t n) {
	if (write(fd, p, n) < 0 && errno != EAGAIN && errno != EPIPE && errno != ECONNRESET) die("write");
}

static void put16(unsigned char *p, uint16_t v) { v = htobe16(v); memcpy(p, &v, 2); }
static void put32(unsigned char *p, uint32_t v) { v = htobe32(v); memcpy(p, &v, 4); }
static void put64(unsigned char *p, uint64_t v) { v = htobe64(v); memcpy(p, &v, 8); }
static unsigned get16(const unsigned char *p) { return p[0] << 8 | p[1]; }

static void run_tick(struct room *r) {
	for (int m = 0; m < messages; m++) {
		unsigned char *p = out + 2;
		int fits = (size - HEAD) / ECHO, n = r->nfresh;
		if (n > MAX_ECHOES) n = MAX_ECHOES;
		if (n > fits) n = fits;
		put16(out, size);
		put64(p, now_ns(CLOCK_REALTIME));
		put64(p + 8, ++r->seq);
		put32(p + 16, n);
		for (int i = 0; i < n; i++)
			memcpy(p + HEAD + i * ECHO, r->fresh[(r->seq * MAX_ECHOES + i) % r->nfresh], ECHO);
		r->nfresh = 0;
		for (int i = 0; i < r->n; i++) put(r->clients[i], out, 2 + size);
	}
}

static void join(int fd, struct client *c, uint32_t number) {
	if (number >= MAX_ROOMS) return;
	struct room *r = rooms[number];
	if (!r) {
		r = rooms[number] = order[nrooms] = calloc(1, sizeof *r);
		if (!r) die("calloc");
		r->due = now_ns(CLOCK_MONOTONIC) + nrooms * 7919000LL % every;
		nrooms++;
	}
	if (r->n == r->room) {
		r->room = r->room ? 2 * r->room : 64;
		r->clients = realloc(r->clients, r->room * sizeof *r->clients);
		if (!r->clients) die("realloc");
	}
	c->room = r;
	c->at = r->n;
	r->clients[r->n++] = fd;
	put(fd, "\0\0", 2);
}

static void message(int fd, struct client *c, const unsigned char *p, unsigned n) {
	if (!c->room && n == 4) {
		uint32_t v;
		memcpy(&v, p, 4);
		join(fd, c, be32toh(v));
	} else if (echo) {
		put16(out, n);
		memcpy(out + 2, p, n);
		put(fd, out, 2 + n);
	} else if (c->room && n >= ECHO && c->room->nfresh < MAX_FRESH) {
		memcpy(c->room->fresh[c->room->nfresh++], p, ECHO);
	}
}

static void drop(int fd, struct client *c) {
	struct room *r = c->room;
	if (r) {
		int last = r->clients[--r->n];
		r->clients[c->at] = last;
		clients[last]->at = c->at;
	}
	clients[fd] = NULL;
	free(c);
	close(fd);
}

static void readable(int fd) {
	struct client *c = clients[fd];
	static unsigned char buf[KEEP + 65536];
	memcpy(buf, c->in, c->have);
	ssize_t got = read(fd, buf + c->have, 65536);
	if (got < 0 && errno == EAGAIN) return;
	if (got <= 0) {
		drop(fd, c);
		return;
	}
	unsigned char *p = buf;
	size_t left = c->have + got;
	while (left >= 2 && left >= 2 + get16(p)) {
		unsigned n = get16(p);
		message(fd, c, p + 2, n);
		p += 2 + n;
		left -= 2 + n;
	}
	if (left > KEEP) {
		drop(fd, c);
		return;
	}
	memcpy(c->in, p, left);
	c->have = left;
}

static void accept_all(int ep, int ln) {
	for (;;) {
		int one = 1, fd = accept4(ln, NULL, NULL, SOCK_NONBLOCK);
		if (fd < 0) return;
		if (fd >= MAX_FD) {
			close(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		if (!(clients[fd] = calloc(1, sizeof(struct client)))) die("calloc");
		struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
		if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev)) die("epoll_ctl");
	}
}

/* Runs what is due and returns the milliseconds to the next. */
static int tick_all(void) {
	if (echo || !nrooms) return 100;
	int64_t now = now_ns(CLOCK_MONOTONIC), next = now + 100000000;
	for (int i = 0; i < nrooms; i++) {
		struct room *r = order[i];
		if (r->due <= now) {
			r->due += every;
			run_tick(r);
		}
		if (r->due < next) next = r->due;
	}
	return next <= now ? 0 : (next - now + 999999) / 1000000;
}

static int listen_at(char *addr) {
	char *colon = strrchr(addr, ':');
	int one = 1, ln = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (!colon || ln < 0) die(addr);
	*colon = 0;
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(atoi(colon + 1)), .sin_addr.s_addr = inet_addr(addr)};
	setsockopt(ln, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(ln, (struct sockaddr *)&sa, sizeof sa) || listen(ln, 4096)) die("listen");
	return ln;
}

int main(int argc, char **argv) {
	char *addr = NULL;
	signal(SIGPIPE, SIG_IGN);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-echo")) echo = 1;
		else if (i + 1 == argc) die(argv[i]);
		else if (!strcmp(argv[i], "-listen")) addr = argv[++i];
		else if (!strcmp(argv[i], "-tick")) tick = atoi(argv[++i]);
		else if (!strcmp(argv[i], "-size")) size = atoi(argv[++i]);
		else if (!strcmp(argv[i], "-messages")) messages = atoi(argv[++i]);
	}
	if (!addr || tick < 1 || size < HEAD || size > 65535) {
		fprintf(stderr, "usage: rawc -listen HOST:PORT [-tick N] [-size N] [-messages N] [-echo]\n");
		return 2;
	}
	every = 1000000000LL / tick;
	int ln = listen_at(addr), ep = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = ln}, evs[256];
	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, ln, &ev)) die("epoll");
	for (;;) {
		int n = epoll_wait(ep, evs, 256, tick_all());
		for (int i = 0; i < n; i++) {
			if (evs[i].data.fd == ln) accept_all(ep, ln);
			else if (clients[evs[i].data.fd]) readable(evs[i].data.fd);
		}
	}
}
