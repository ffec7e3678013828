/*
 * Attestation documents in words. Trusts nothing in them: every text is printed safely, and a
 * certificate that does not parse is shown as bytes.
 */
#include "tools/inspect/describe_document.h"

#include "attest/certificate.h"
#include "crypto/base/digest.h"
#include "crypto/format.h"
#include "crypto/name.h"

#include <string.h>

/* Longer fields are shown by their beginning and digest; JSON has them whole. */
#define SHOWN_BYTES_MAX OUTPUT_HEX_MAX
#define SHOWN_HEAD 16

static const char *kind_name(enum document_kind kind)
{
	return kind == DOCUMENT_NITROTPM ? "nitrotpm" : "nitro-enclave";
}

static json_t *bytes_json(struct bytes_view v)
{
	return v.data ? output_hex_json(v.data, v.size) : json_null();
}

static json_t *certificate_json(struct bytes_view der)
{
	struct certificate_info info;
	char from[OUTPUT_TIME_SIZE], to[OUTPUT_TIME_SIZE];

	if (certificate_describe(der.data, der.size, &info, NULL) < 0)
		return json_pack("{s:n, s:o}", "subject", "der", bytes_json(der));
	return json_pack("{s:o, s:o, s:s, s:s, s:s, s:s, s:b, s:o, s:o}", "subject",
			 output_text(info.subject), "issuer", output_text(info.issuer), "serial",
			 info.serial, "not_before", output_time_ms(info.not_before_s * 1000, from),
			 "not_after", output_time_ms(info.not_after_s * 1000, to), "key", info.key,
			 "ca", info.is_ca, "sha256",
			 output_hex_json(info.sha256, sizeof(info.sha256)), "der", bytes_json(der));
}

json_t *describe_document_json(const struct attest_doc *doc, const char *label, size_t size)
{
	json_t *pcrs = json_object(), *bundle = json_array();
	char time[OUTPUT_TIME_SIZE], index[4];

	for (unsigned i = 0; i < DOCUMENT_PCRS_MAX; i++) {
		if (!doc->pcrs[i].present)
			continue;
		(void)snprintf(index, sizeof(index), "%u", i);
		json_object_set_new(pcrs, index,
				    output_hex_json(doc->pcrs[i].value, doc->pcrs[i].size));
	}
	for (size_t i = 0; i < doc->cabundle_count; i++)
		output_append(&bundle, certificate_json(doc->cabundle[i]));
	return json_pack("{s:s, s:o, s:b, s:I, s:s, s:o, s:s, s:I, s:s, s:o, s:o, s:o, s:o, s:o, "
			 "s:o, s:o, s:o}",
			 "type", "attestation-document", "object", output_text(label), "verified",
			 0, "size", (json_int_t)size, "kind", kind_name(doc->kind), "module_id",
			 output_text(doc->module_id), "digest", "SHA384", "timestamp_ms",
			 (json_int_t)doc->timestamp_ms, "timestamp",
			 output_time_ms((int64_t)doc->timestamp_ms, time), "pcrs", pcrs,
			 "certificate", certificate_json(doc->certificate), "cabundle", bundle,
			 "public_key", bytes_json(doc->public_key), "user_data",
			 bytes_json(doc->user_data), "nonce", bytes_json(doc->nonce), "protected",
			 bytes_json(doc->protected_header), "signature",
			 bytes_json(doc->signature));
}

static void print_bytes(const char *label, struct bytes_view v)
{
	uint8_t sha256[SHA256_SIZE];
	char key[32];

	print_safely(stdout, "  %-11s  ", label);
	if (!v.data) {
		print_safely(stdout, "absent\n");
		return;
	}
	print_safely(stdout, "%zu bytes  ", v.size);
	if (v.size <= SHOWN_BYTES_MAX)
		print_safely(stdout, "%s", OUTPUT_HEX(v.data, v.size));
	else if (digest_buffer(DIGEST_SHA256, v.data, v.size, sha256) == 0)
		print_safely(stdout, "%s…  (sha256 %s)", OUTPUT_HEX(v.data, SHOWN_HEAD),
			     OUTPUT_HEX(sha256, sizeof(sha256)));
	if (public_key_describe(v.data, v.size, key, sizeof(key)) == 0)
		print_safely(stdout, "  %s key", key);
	print_safely(stdout, "\n");
}

static void print_certificate(const char *label, struct bytes_view der)
{
	struct certificate_info info;
	char from[OUTPUT_TIME_SIZE], to[OUTPUT_TIME_SIZE];

	if (certificate_describe(der.data, der.size, &info, NULL) < 0) {
		print_bytes(label, der);
		return;
	}
	print_safely(stdout, "  %-11s  subject  %s\n", label, info.subject);
	print_safely(stdout, "  %-11s  issuer   %s\n", "", info.issuer);
	print_safely(stdout, "  %-11s  valid    %s to %s, %s%s\n", "",
		     output_time_ms(info.not_before_s * 1000, from),
		     output_time_ms(info.not_after_s * 1000, to), info.key,
		     info.is_ca ? ", CA" : "");
	print_safely(stdout, "  %-11s  serial   %s\n", "", info.serial);
	print_safely(stdout, "  %-11s  sha256   %s\n", "",
		     OUTPUT_HEX(info.sha256, sizeof(info.sha256)));
}

void describe_document(const struct attest_doc *doc, const char *label, size_t size)
{
	char name[NAME_PRINTABLE_SIZE], time[OUTPUT_TIME_SIZE], which[32];

	name_printable(label, name);
	print_safely(stdout, "%s: attestation document, %zu bytes (nothing is verified here)\n",
		     name, size);
	name_printable(doc->module_id, name);
	print_safely(stdout, "  %-11s  %s\n", "kind", kind_name(doc->kind));
	print_safely(stdout, "  %-11s  %s\n", "module id", name);
	print_safely(stdout, "  %-11s  %s\n", "timestamp",
		     output_time_ms((int64_t)doc->timestamp_ms, time));
	print_safely(stdout, "  %-11s  SHA384\n", "digest");
	for (unsigned i = 0; i < DOCUMENT_PCRS_MAX; i++) {
		if (!doc->pcrs[i].present)
			continue;
		(void)snprintf(which, sizeof(which), "PCR %u", i);
		print_safely(stdout, "  %-11s  %s\n", which,
			     OUTPUT_HEX(doc->pcrs[i].value, doc->pcrs[i].size));
	}
	print_bytes("public key", doc->public_key);
	print_bytes("user data", doc->user_data);
	print_bytes("nonce", doc->nonce);
	print_certificate("certificate", doc->certificate);
	for (size_t i = 0; i < doc->cabundle_count; i++) {
		(void)snprintf(which, sizeof(which), "cabundle %zu", i);
		print_certificate(which, doc->cabundle[i]);
	}
	print_bytes("protected", doc->protected_header);
	print_bytes("signature", doc->signature);
}
