// A request of tests/vectors/verdict/ (attest/verdict/VERDICT.md, "Vectors") as verdict.js takes it.

import { fromBase64, fromHex } from './bytes.js';
import { DIGEST_BYTES } from './events.js';
import { AWS_ROOT } from './aws_root.js';
import { readOwnerKey, readSeal } from './seal.js';
import { readSet } from './set.js';

const DEFAULT_MAX_AGE_S = 300;

function optional(value, read) {
	return value === undefined || value === null ? null : read(value);
}

function maxAge(request) {
	return request.max_age ?? (request.time_given ? null : DEFAULT_MAX_AGE_S);
}

export async function readVector(request) {
	const kinds = Object.keys(DIGEST_BYTES);
	const keys = await Promise.all((request.owner_keys ?? [])
		.map(({ name, key }) => readOwnerKey(name, fromBase64(key))));
	const sets = await Promise.all((request.sets ?? []).map((set) => readSet(fromBase64(set))));
	return {
		document: fromBase64(request.document),
		root: optional(request.root, fromBase64) ?? AWS_ROOT,
		time: request.time,
		nonce: optional(request.nonce, fromHex),
		maxAge: maxAge(request),
		tlsKey: optional(request.tls_key, fromHex),
		boot: new Map(Object.entries(request.boot ?? {})
			.map(([index, values]) => [Number(index), values.map(fromHex)])),
		eventLog: optional(request.event_log, fromBase64),
		systemdLog: optional(request.systemd_log, fromBase64),
		modelPcr: request.model_pcr ?? 15,
		models: (request.models ?? []).map((model) => ({
			label: model.label ?? null,
			digests: Object.fromEntries(kinds.filter((kind) => model[kind])
				.map((kind) => [kind, fromHex(model[kind])])),
		})),
		...(request.modes ? { modes: request.modes, modesAsked: true } : {}),
		seals: (request.seals ?? []).map((seal) => readSeal(fromBase64(seal))).filter((seal) => seal !== null),
		sets: sets.filter((set) => set !== null),
		members: request.members ?? null,
		ownerKeys: keys,
		attest: request.attest ?? 'nitrotpm', kms: request.kms ?? [], debug: request.debug === true,
	};
}
