/* The public header of DIPC, System V IPC between computers.
 *
 * A program needs nothing of this to use distributed objects: it runs under `dipc run`, with libdipc.so preloaded, and
 * asks for them by the flag IPC_DIPC or by keys that the administrator has declared distributed. A program that wants
 * to know more links with -ldipc (`pkg-config dipc`), which has the same effect as the preload.
 */
#ifndef DIPC_H
#define DIPC_H

/* In the flags of msgget(2), semget(2), shmget(2): the key means the same object on every host of the cluster. The
 * value is the one that <linux/ipc.h> reserves; a kernel without DIPC ignores it. */
#ifndef IPC_DIPC
#define IPC_DIPC 00010000
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Where an object lives, as the functions below answer. */
#define DIPC_LOCAL 0  /* an ordinary object of this host's kernel, or no object at all */
#define DIPC_OWNED 1  /* distributed, and this host owns it: its calls go to this host's kernel */
#define DIPC_REMOTE 2 /* distributed, owned by another host: its calls travel */

/* What the queue `msqid` (the set `semid`) is. -1 with errno as any call on the object would have it: ETIMEDOUT or
 * EHOSTUNREACH if the daemon of this host can't be asked, EACCES for another host's object while no daemon runs. */
int dipc_is_distributed_msg(int msqid);
int dipc_is_distributed_sem(int semid);

/* The version of the library in use, "0.1.0". Never NULL, never freed. */
const char* dipc_version(void);

#ifdef __cplusplus
}
#endif

#endif
