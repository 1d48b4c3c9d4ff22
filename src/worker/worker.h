/* worker/worker.h - a worker: one loop, one proxy, the listening sockets that the supervisor hands
 * out. Executed as `veloflux --role=worker`. */
#ifndef VF_WORKER_WORKER_H
#define VF_WORKER_WORKER_H

/* Runs a worker until it has drained. Returns the exit code. */
int vf_worker_main(void);

#endif
