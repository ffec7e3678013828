/*
 * Slots that this machine opens alone. Job: key files, and its TPM. Trusts no slot: the key must
 * fit the commitment.
 */
#include "crypto/failure.h"
#include "fs/unlock/unlock_internal.h"

#include <errno.h>
#include <string.h>

static int try_keyfile_slot(struct attempt *a, unsigned index, const struct seal_slot *slot,
			    struct secret **ret)
{
	char where[WHERE_MAX];

	(void)snprintf(where, sizeof(where), "slot %u (key file)", index);
	for (size_t n = 0; n < a->u->keyfile_count; n++) {
		struct secret *key = NULL;
		struct error err = {0};
		int e = slot_open_keyfile(slot, a->u->keyfiles[n], a->id, &key);

		if (e == -ENOKEY)
			continue;
		a->tried++;
		if (e == 0)
			e = attempt_take(a, key, where, ret, &err);
		else if (e == -EBADMSG)
			e = seal_fail(&err, SEAL_WRONG_KEY, a->name,
				      "%s was not wrapped for this file by this key file", where);
		else
			error_set(&err, e, "%s: %s: %s", a->name, where, strerror(-e));
		if (e == 0)
			return 0;
		attempt_failed(a, &err, e);
	}
	return -ENOKEY;
}

int attempt_keyfiles(struct attempt *a, struct secret **ret)
{
	const struct sealed_head *h = a->head;

	for (unsigned n = 0; n < h->slot_count; n++)
		if (h->slots[n].type == SEAL_SLOT_KEYFILE &&
		    try_keyfile_slot(a, n, &h->slots[n], ret) == 0)
			return 0;
	return -ENOKEY;
}

static int try_tpm_slot(struct attempt *a, unsigned index, const struct seal_slot *slot,
			struct secret **ret)
{
	struct secret *key = NULL;
	struct tpm_slot tpm = {0};
	struct error err = {0};
	char where[WHERE_MAX];
	int e = slot_parse_tpm(slot, &tpm, &err);

	(void)snprintf(where, sizeof(where), "slot %u (TPM)", index);
	a->tried++;
	if (e == 0)
		e = tpm_unseal(&a->u->tpm, &tpm, &key, &err);
	if (e < 0)
		error_prefix(&err, e, "%s: %s", a->name, where);
	else
		e = attempt_take(a, key, where, ret, &err);
	if (e == 0)
		return 0;
	attempt_failed(a, &err, e);
	return e;
}

int attempt_tpm(struct attempt *a, struct secret **ret)
{
	const struct sealed_head *h = a->head;

	for (unsigned n = 0; a->u->use_tpm && n < h->slot_count; n++)
		if (h->slots[n].type == SEAL_SLOT_TPM2 &&
		    try_tpm_slot(a, n, &h->slots[n], ret) == 0)
			return 0;
	return -ENOKEY;
}
