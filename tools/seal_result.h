/* seal_result.h: what `sealctl seal` prints for each sealed file. name: as sealed. */
#ifndef SEALEDFS_TOOLS_SEAL_RESULT_H
#define SEALEDFS_TOOLS_SEAL_RESULT_H

#include "tools/seal/publish.h"

#include <jansson.h>

/* A new reference; NULL only without memory. */
json_t *seal_result_json(const struct seal_request *req, const struct seal_result *res,
			 const char *name);
void seal_result_print(const struct seal_request *req, const struct seal_result *res,
		       const char *name);

#endif
