// Steps "model" and "owner": what the PCR holds against what was expected. Written from
// attest/verdict/VERDICT.md.

import { equal, isZero, toHex, utf8, digest } from './bytes.js';
import { MEASURES, MODES, extend, hasStart, modelEvent, startText } from './events.js';
import { signedByKey } from './seal.js';

// ---------------------------------------------------------------- without a log

async function leadsTo(mode, models, start) {
	let value = new Uint8Array(48);
	if (hasStart(mode))
		value = await extend(value, await digest('SHA-384', utf8(start)));
	for (const model of models) {
		const event = await modelEvent(mode, model);
		if (event === null)
			return null;
		value = await extend(value, event);
	}
	return value;
}

function measuredBy(mode, model) {
	return Object.fromEntries(MEASURES[mode].map((kind) => [kind, model[kind]]));
}

// What the PCR holds if it holds the expected models: {models, starts, unknown, systemd}, or null.
export async function guessHolds(request, value) {
	if (isZero(value))
		return { models: [], starts: [], unknown: 0, systemd: 0 };
	const owners = request.ownerKeys.map((key) => toHex(key.id));
	for (const mode of MODES) {
		const start = startText(mode, request.attest, owners, request.kms);
		const led = await leadsTo(mode, request.models.map((model) => model.digests), start);
		if (led !== null && equal(led, value))
			return {
				models: request.models.map((model) => ({ mode, digests: measuredBy(mode, model.digests) })),
				starts: hasStart(mode) ? [{ mode, owners }] : [], unknown: 0, systemd: 0,
			};
	}
	return null;
}

// ---------------------------------------------------------------- names and seals

function belongs(seal, model) {
	if (model.mode === 'set')
		return seal.content !== undefined && equal(seal.content, model.digests.set);
	return seal.content === undefined && Object.entries(model.digests).every(([kind, value]) => equal(seal.digests[kind], value));
}

function kindsInCommon(model, expected) {
	return Object.keys(expected.digests).filter((kind) => model.known[kind] !== undefined);
}

function isThat(model, expected) {
	const kinds = kindsInCommon(model, expected);
	return kinds.length > 0 && kinds.every((kind) => equal(model.known[kind], expected.digests[kind]));
}

function nameOf(model, expected) {
	const labelled = expected.find((one) => one.label && isThat(model, one));
	if (labelled || model.signed)
		return (labelled ? labelled.label : model.signed.path ?? model.signed.name).replace(/\.gguf$/, '');
	const kind = MEASURES[model.mode][0];
	return `${kind}:${toHex(model.digests[kind]).slice(0, 12)}`;
}

async function signerOf(seal, keys) {
	for (const key of keys) {
		if (await signedByKey(seal, key))
			return key;
	}
	return null;
}

// Adds to each model: sealed (a seal or the head of a set belongs to it), signed (the one that an owner
// key signed) and owner (that key's name), known (all digests of it that can be relied on), name; to a
// set also table (the head whose members are known, or null) and tableSigned.
export async function describeModels(models, request) {
	for (const model of models) {
		const seals = [...request.seals, ...request.sets].filter((seal) => belongs(seal, model));
		Object.assign(model, { sealed: seals.length > 0, signed: null, table: null, tableSigned: false });
		for (const seal of seals) {
			const key = await signerOf(seal, request.ownerKeys);
			if (model.signed === null && key !== null)
				Object.assign(model, { signed: seal, owner: key.name });
			if (seal.members && (model.table === null || (key !== null && !model.tableSigned)))
				Object.assign(model, { table: seal, tableSigned: key !== null });
		}
		model.known = model.signed?.digests ?? model.digests;
		model.name = nameOf(model, request.models);
	}
}

// ---------------------------------------------------------------- steps

// True if each model can have an expected one of its own (few models: tried one after the other).
function fitSomehow(models, expected, taken = new Set()) {
	if (taken.size === models.length)
		return true;
	return expected.some((one, i) => !taken.has(i) && isThat(models[taken.size], one) &&
		fitSomehow(models, expected, new Set([...taken, i])));
}

function judgeExpected(models, expected, pcr) {
	if (models.length !== expected.length)
		return `PCR ${pcr} holds ${models.length} model${models.length === 1 ? '' : 's'}, not ${expected.length}`;
	if (models.every((model, i) => isThat(model, expected[i])))
		return null;
	if (fitSomehow(models, expected))
		return `PCR ${pcr} holds the expected models in another order`;
	const other = models.find((model) => !expected.some((one) => isThat(model, one))) ??
		models.find((model, i) => !isThat(model, expected[i]));
	return expected.some((one) => kindsInCommon(other, one).length > 0)
		? `PCR ${pcr} holds another model: ${other.name}`
		: `PCR ${pcr} holds ${other.name}, which cannot be compared with the digests that were given`;
}

// The reason of a failure, or null. holds is null if it is not known what the PCR holds.
export function judgeModels(request, value, holds) {
	const pcr = request.modelPcr;
	if (value === undefined)
		return `the document has no PCR ${pcr}`;
	if (holds === null)
		return `PCR ${pcr} does not have the value that the expected models lead to`;
	if (holds.unknown > 0)
		return `something unknown was extended into PCR ${pcr} too`;
	if (holds.models.length === 0)
		return `PCR ${pcr} holds no model`;
	const reason = request.models.length > 0 ? judgeExpected(holds.models, request.models, pcr) : null;
	if (reason !== null)
		return reason;
	const wrong = holds.models.find((model) => !request.modes.includes(model.mode));
	return wrong ? `PCR ${pcr} holds ${wrong.name}, but it was measured as ${wrong.mode}` : null;
}

// {reason, members}: what is shown of each member that was asked for.
export function findMembers(request, holds) {
	const known = holds.models.filter((model) => model.table !== null), members = [];
	for (const path of request.members ?? []) {
		const model = known.find((one) => one.table.members.has(path));
		if (known.length === 0)
			return { reason: `no set was given whose members PCR ${request.modelPcr} holds`, members: [] };
		if (model === undefined)
			return { reason: `${known[0].name} has no member "${path}"`, members: [] };
		const { length, verity, sha256, sha384 } = model.table.members.get(path);
		members.push({ path, length, verity: toHex(verity),
			...(model.tableSigned ? { sha256: toHex(sha256), sha384: toHex(sha384) } : {}) });
	}
	return { reason: null, members };
}

export function judgeOwners(request, holds) {
	const pcr = request.modelPcr;
	if (holds === null)
		return `it is not known what PCR ${pcr} holds`;
	if (holds.unknown > 0)
		return `something unknown was extended into PCR ${pcr} too`;
	if (holds.models.length === 0)
		return `PCR ${pcr} holds no model`;
	const bare = holds.models.find((model) => !model.sealed && model.mode !== 'set');
	if (bare)
		return `no seal was given for ${bare.name}`;
	const unsigned = holds.models.find((model) => model.signed === null && model.mode !== 'set');
	if (unsigned)
		return `the seal of ${unsigned.name} is not signed by an expected owner`;
	const strange = holds.models.find((model) => model.signed === null && model.sealed);
	if (strange)
		return `${strange.name} is a set that no expected owner signed`;
	const ids = request.ownerKeys.map((key) => toHex(key.id));
	if (holds.starts.some((start) => start.owners.some((id) => !ids.includes(id))))
		return 'the start event names another owner';
	return holds.starts.some((start) => start.owners.length === 0) ? 'the start event names no owner' : null;
}
