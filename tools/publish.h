/*
 * publish.h: the moment at which a sealed model becomes visible, and how everything before it is
 * undone. Private to seal_input.
 */
#ifndef SEALEDFS_TOOLS_PUBLISH_H
#define SEALEDFS_TOOLS_PUBLISH_H

#include "tools/seal_input.h"

/*
 * Commits the payload, then puts the seal over what was there under this name. On failure the
 * payload is gone again. Then, with remove_old, removes the replaced model's payload; if that
 * fails, it is only warned about. Fills res->replaced, old_payload, old_payload_removed.
 */
int publish(const struct seal_request *req, struct source_writer *writer, const uint8_t *seal,
	    size_t seal_size, struct seal_result *res, struct error *err);
/* Aborts an unfinished payload, also after Ctrl-C stopped the network; warns when it cannot. */
void publish_undo(const struct seal_request *req, struct source_writer *writer);

#endif
