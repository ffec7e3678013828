/*
 * interrupt.h: Ctrl-C and similar signals: work in progress is undone before the process ends.
 *
 * SIGINT, SIGTERM and SIGHUP are taken by a thread of their own. The first one raises a flag and
 * calls the hook; a second one ends the process at once, and so do ten seconds in which the program
 * has no hook and did not end: it waits for something that no flag reaches. A signal that was
 * ignored when the program started (nohup) stays ignored.
 */
#ifndef SEALEDFS_TOOLS_INTERRUPT_H
#define SEALEDFS_TOOLS_INTERRUPT_H

#include "crypto/base/error.h"

/* Call before any other thread exists. 0 or negative errno. */
int interrupt_setup(void);
/* -EINTR with a message when a signal came, else 0. Any thread. */
int interrupt_check(struct error *err);
/* After everything was undone: ends the process by SIGINT if that was the signal, so that a shell's
 * loop ends, too. Returns otherwise. */
void interrupt_die(void);
/* Before an exec: signals act again as they did when the program started. */
void interrupt_end(void);
/* What cut a call short: when code is an error and a signal came, the error becomes that of
 * interrupt_check(). Returns the code that holds. */
int interrupt_translate(int code, struct error *err);
/*
 * The hooks are called once each, in the signal's thread, at once if it came already. What they
 * use must live until interrupt_unhook(), after which they are not running.
 */
int interrupt_hook(void (*fn)(void *ctx), void *ctx);
void interrupt_unhook(void (*fn)(void *ctx), void *ctx);
/*
 * Between these two no hook is called: for steps that must not be interrupted, and for clean-up.
 * interrupt_check() still reports the signal, and a second signal still ends the process. Pairs may
 * be nested.
 */
void interrupt_hold(void);
void interrupt_release(void);

#endif
