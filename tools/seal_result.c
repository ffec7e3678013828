/*
 * Results of sealing. Job: the same facts as text and as JSON.
 */
#include "tools/seal_result.h"

#include "crypto/base/printable.h"
#include "tools/common/output.h"
#include "tools/inspect/describe.h"

json_t *seal_result_json(const struct seal_request *req, const struct seal_result *res,
			 const char *name)
{
	_cleanup_free_ char *seal = source_describe(req->dest, res->seal_name);
	_cleanup_free_ char *payload = source_describe(req->dest, res->payload_name);
	json_t *signer = json_null();

	if (req->signer)
		signer = output_hex_json(signing_key_id(req->signer), SIGNER_ID_SIZE);
	return json_pack(
		"{s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:b, s:f, s:f}",
		"name", output_text(name), "seal", output_text(seal ? seal : "?"), "payload",
		output_text(payload ? payload : "?"), "file_id",
		output_hex_json(res->file_id, sizeof(res->file_id)), "length",
		(json_int_t)res->length, "sha256",
		output_hex_json(res->digests.sha256, sizeof(res->digests.sha256)), "sha384",
		output_hex_json(res->digests.sha384, sizeof(res->digests.sha384)), "verity",
		output_hex_json(res->digests.verity, sizeof(res->digests.verity)), "signer", signer,
		"recipients", describe_slots_json(res->slots, res->slot_count), "replaced",
		res->replaced, "old_payload",
		res->old_payload ? output_text(res->old_payload) : json_null(),
		"old_payload_removed", res->old_payload_removed, "seconds", res->seconds,
		"bytes_per_second",
		res->seconds > 0 ? (double)res->length / res->seconds : (double)res->length);
}

void seal_result_print(const struct seal_request *req, const struct seal_result *res,
		       const char *name)
{
	_cleanup_free_ char *seal = source_describe(req->dest, res->seal_name);
	char amount[OUTPUT_AMOUNT_SIZE], rate[OUTPUT_AMOUNT_SIZE], safe[NAME_PRINTABLE_SIZE];

	output_amount((double)res->length, amount);
	output_amount(res->seconds > 0 ? (double)res->length / res->seconds : 0, rate);
	name_printable(name, safe);
	print_safely(stdout, "%s  %s in %.1f s (%s/s)%s\n", safe, amount, res->seconds, rate,
		     res->replaced ? ", replaced" : "");
	name_printable(seal ? seal : "?", safe);
	print_safely(stdout, "  seal       %s\n", safe);
	print_safely(stdout, "  sha256     %s\n",
		     OUTPUT_HEX(res->digests.sha256, sizeof(res->digests.sha256)));
	print_safely(stdout, "  fs-verity  sha256:%s\n",
		     OUTPUT_HEX(res->digests.verity, sizeof(res->digests.verity)));
	if (res->old_payload) {
		name_printable(res->old_payload, safe);
		print_safely(stdout, "  the old payload %s %s\n", safe,
			     res->old_payload_removed ? "is removed"
						      : "is kept for mounts that still read it");
	}
}
