// The verdict: all steps in their order, each passed, failed or not asked, and the sentence. Written
// from attest/verdict/VERDICT.md; tests/vectors/verdict/ is judged by this and by sealctl.

import { equal, isZero, toHex, utf8 } from './bytes.js';
import { judgeChain } from './chain.js';
import { decodeDocument, readFields, signatureVerifies } from './document.js';
import { MODES } from './events.js';
import { judgeLog } from './log.js';
import { describeModels, findMembers, guessHolds, judgeModels, judgeOwners } from './models.js';
import { refusedSentence, verifiedSentence } from './sentence.js';

export const STEPS = ['decode', 'fields', 'chain', 'signature', 'freshness', 'tls', 'boot', 'log',
	'model', 'owner'];
const NOT_AUTHENTIC = 3, NOT_EXPECTED = 4;
const AUTHENTICITY = ['decode', 'fields', 'chain', 'signature', 'owner'];
const MAX_AHEAD_S = 60;

// A request with every member, null where nothing is asked:
//   document, root (DER): bytes; time: seconds since 1970; nonce: bytes; maxAge: seconds;
//   tlsKey: hash, bytes; boot: Map of PCR to list of bytes; eventLog, systemdLog: bytes;
//   modelPcr; models: [{label, digests: {sha256, sha384, verity: bytes}}]; modes: names;
//   modesAsked: whether they restrict anything; seals: of readSeal(); sets: of readSet();
//   members: paths, null if not asked; ownerKeys: of readOwnerKey();
//   attest, kms: start facts; debug.
export function completeRequest(given) {
	return {
		nonce: null, maxAge: null, tlsKey: null, boot: new Map(), eventLog: null, systemdLog: null,
		modelPcr: 15, models: [], modes: MODES, modesAsked: false, seals: [], sets: [], members: null, ownerKeys: [],
		attest: 'nitrotpm', kms: [], debug: false, ...given,
	};
}

function isAsked(request) {
	return {
		decode: true, fields: true, chain: true, signature: true,
		freshness: request.nonce !== null || request.maxAge !== null,
		tls: request.tlsKey !== null,
		boot: request.boot.size > 0,
		log: request.eventLog !== null || request.systemdLog !== null,
		model: request.models.length > 0 || request.modesAsked || request.members !== null,
		owner: request.ownerKeys.length > 0,
	};
}

const CHAIN_REASONS = {
	root: 'the certificate chain does not end in the expected root',
	other: 'the certificate chain is broken',
	time: "a certificate of the chain was not valid at the document's time",
};

function judgeFreshness(request, fields) {
	if (request.nonce !== null && fields.nonce === null)
		return 'the document carries no nonce';
	if (request.nonce !== null && !equal(request.nonce, fields.nonce))
		return 'the document carries another nonce than the one that was asked';
	if (request.maxAge === null)
		return null;
	const age = ageOf(request, fields), ahead = Math.floor(fields.timestamp / 1000 - request.time);
	if (age > request.maxAge)
		return `the document is ${age} s old, older than ${request.maxAge} s`;
	return ahead > MAX_AHEAD_S ? `the document is ${ahead} s in the future` : null;
}

function ageOf(request, fields) {
	return Math.floor(request.time - fields.timestamp / 1000);
}

function judgeTls(request, fields) {
	const prefix = utf8('sealedfs:tls:sha256:');
	if (fields.userData === null || !equal(fields.userData.subarray(0, prefix.length), prefix))
		return 'the document names no TLS key';
	return equal(fields.userData.subarray(prefix.length), utf8(toHex(request.tlsKey))) ? null
		: 'the TLS key of the server is not the one in the document';
}

function isDebug(fields) {
	return fields.enclave && [0, 1, 2].every((index) => isZero(fields.pcrs.get(index) ?? new Uint8Array(0)));
}

function judgeBoot(request, fields) {
	if (isDebug(fields) && !request.debug)
		return 'the enclave runs in debug mode';
	for (const index of [...request.boot.keys()].sort((one, other) => one - other)) {
		const value = fields.pcrs.get(index);
		if (value === undefined)
			return `the document has no PCR ${index}`;
		if (!request.boot.get(index).some((approved) => equal(approved, value)))
			return `PCR ${index} is not one of the approved values`;
	}
	return null;
}

class Report {
	constructor(asked) {
		this.asked = asked;
		this.steps = new Map();
	}

	note(name, reason) {
		this.steps.set(name, reason === null ? { name, status: 'passed', reason: null }
			: { name, status: 'failed', reason });
	}

	noteIfAsked(name, reason) {
		if (this.asked[name])
			this.note(name, reason);
	}

	passed(name) {
		return this.steps.get(name)?.status === 'passed';
	}

	// Steps that were not judged: failed after BROKEN, if they were asked.
	rest(broken) {
		for (const name of STEPS) {
			if (!this.steps.has(name) && this.asked[name] && broken)
				this.note(name, `not checked: ${broken} failed`);
			else if (!this.steps.has(name))
				this.steps.set(name, { name, status: 'not asked', reason: null });
		}
		return STEPS.map((name) => this.steps.get(name));
	}
}

// The members that were asked for, if the step passes.
function judgeStepModel(request, value, holds, report) {
	const reason = judgeModels(request, value, holds);
	if (reason !== null || !report.asked.model) {
		report.noteIfAsked('model', reason);
		return [];
	}
	const found = findMembers(request, holds);
	report.note('model', found.reason);
	return found.members;
}

async function judgeContents(request, fields, report) {
	const value = fields.pcrs.get(request.modelPcr);
	if (report.asked.log) {
		const { reason, holds } = await judgeLog(request.eventLog, request.systemdLog, request.modelPcr, value);
		report.note('log', reason ?? null);
		if (reason) {
			report.noteIfAsked('model', 'not checked: log failed');
			report.noteIfAsked('owner', 'not checked: log failed');
			return null;
		}
		await describeModels(holds.models, request);
		holds.members = judgeStepModel(request, value, holds, report);
		report.noteIfAsked('owner', judgeOwners(request, holds));
		return holds;
	}
	if (!report.asked.model && !report.asked.owner)
		return null;
	const holds = value === undefined || request.models.length === 0 ? null : await guessHolds(request, value);
	if (holds !== null)
		await describeModels(holds.models, request);
	const members = judgeStepModel(request, value, holds, report);
	if (holds !== null)
		holds.members = members;
	report.noteIfAsked('owner', judgeOwners(request, holds));
	return holds;
}

function conclude(report, broken, facts, fields) {
	const steps = report.rest(broken);
	const failed = steps.filter((step) => step.status === 'failed');
	const verified = failed.length === 0;
	const exitCode = verified ? 0
		: AUTHENTICITY.includes(failed[0].name) ? NOT_AUTHENTIC : NOT_EXPECTED;
	return {
		verified, exitCode, steps, fields, members: facts?.holds?.members ?? [],
		sentence: verified ? verifiedSentence(facts) : refusedSentence(failed[0].reason),
	};
}

// {verified, exitCode, sentence, steps: [{name, status, reason}], fields (null if they could not be
// read), members: [{path, length, verity, sha256, sha384}], those that were asked for}.
export async function judge(given) {
	const request = completeRequest(given);
	const report = new Report(isAsked(request));
	let document;
	try {
		document = decodeDocument(request.document);
	} catch (failure) {
		report.note('decode', `the document cannot be decoded: ${failure.message}`);
		return conclude(report, 'decode', null, null);
	}
	report.note('decode', null);
	const fields = readFields(document.members);
	report.note('fields', fields.broken ? `the document breaks the rule for ${fields.broken}` : null);
	if (fields.broken)
		return conclude(report, 'fields', null, null);
	const { cause, leafKey } = await judgeChain(fields, request.root);
	report.note('chain', cause === null ? null : CHAIN_REASONS[cause]);
	report.note('signature', leafKey !== null && await signatureVerifies(document, leafKey) ? null
		: "the document's signature is wrong");
	report.noteIfAsked('freshness', judgeFreshness(request, fields));
	if (report.asked.tls)
		report.note('tls', judgeTls(request, fields));
	if (report.asked.boot || (isDebug(fields) && !request.debug))
		report.note('boot', judgeBoot(request, fields));
	const holds = await judgeContents(request, fields, report);
	return conclude(report, null, {
		pcr: request.modelPcr, holds, ownersPassed: report.passed('owner'),
		bootAsked: report.asked.boot, age: request.maxAge === null ? null : ageOf(request, fields),
		nonceAsked: request.nonce !== null, timestamp: fields.timestamp,
	}, fields);
}
