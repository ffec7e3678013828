/*
 * Asking another machine. Job: a nonce, the exchange, and what belongs to it for the verdict. Must
 * never use a nonce that somebody else chose as one's own.
 */
#include "tools/verify/verify_from.h"

#include "crypto/base/cleanup.h"
#include "tools/evidence/bind_key.h"
#include "tools/evidence/fetch_evidence.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

/* Own evidence with the server's nonce; over TLS it names the key that was met, so that it is of no
 * use to anybody between. */
static int make_own(struct evidence_server *s, const struct evidence_options *own, char **ret,
		    struct error *err)
{
	_cleanup_(evidence_maker_freep) struct evidence_maker *maker = NULL;
	uint8_t nonce[FETCH_NONCE_SIZE];
	struct attest_request request = {.nonce = nonce, .nonce_size = sizeof(nonce)};
	char text[BIND_TEXT_SIZE];
	size_t size;
	int r = evidence_maker_new(own, &maker, err);

	if (r == 0)
		r = evidence_server_nonce(s, nonce, err);
	if (r < 0)
		return r;
	if (evidence_server_key(s)) {
		bind_text(evidence_server_key(s), text);
		request.user_data = (const uint8_t *)text;
		request.user_data_size = sizeof(text) - 1;
	}
	return evidence_make(maker, &request, ret, &size, err);
}

int verify_from(const char *from, const struct evidence_options *own,
		uint8_t nonce[VERIFY_NONCE_SIZE], uint8_t key[32], bool *ret_tls,
		struct presented *ret, struct error *err)
{
	_cleanup_(evidence_server_freep) struct evidence_server *s = NULL;
	_cleanup_free_ char *presented = NULL, *text = NULL;
	size_t size = 0;
	int r = evidence_server_new(from, &s, err);

	if (r == 0 && getrandom(nonce, VERIFY_NONCE_SIZE, 0) != VERIFY_NONCE_SIZE)
		r = error_set(err, -EIO, "cannot make a nonce");
	if (r == 0 && own)
		r = make_own(s, own, &presented, err);
	if (r < 0)
		return r;
	r = presented ? evidence_server_present(s, nonce, presented, &text, &size, err)
		      : evidence_server_get(s, nonce, &text, &size, err);
	if (r < 0)
		return r;
	*ret_tls = evidence_server_key(s);
	if (*ret_tls)
		memcpy(key, evidence_server_key(s), 32);
	r = presented_parse(text, size, ret, err);
	return r < 0 ? error_prefix(err, r, "%s", from) : 0;
}
