/* checker/process.h - the checker process. Executed as `veloflux --role=checker`. */
#ifndef VF_CHECKER_PROCESS_H
#define VF_CHECKER_PROCESS_H

/* Runs the active checks until the supervisor ends it. Returns the exit code. */
int vf_checker_main(void);

#endif
