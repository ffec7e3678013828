// The one sentence that a person reads. Written from attest/verdict/VERDICT.md, "The sentence".

const HOW = {
	verity: 'every byte checked',
	set: 'every byte of its members checked',
	declared: 'hashes declared by the sealer, bytes not compared with them',
	sha384: 'mode not provable',
	sha256: 'mode not provable',
};

function counted(number, tail) {
	return `${number} event${number === 1 ? '' : 's'} ${tail}`;
}

function sealer(model, ownersPassed) {
	if (!ownersPassed || !model.owner)
		return '';
	return model.mode === 'set' ? ` version ${model.signed.version} (set signed by ${model.owner})`
		: ` (sealed by ${model.owner})`;
}

function describe(model, ownersPassed) {
	return `${model.name}${sealer(model, ownersPassed)}, ${HOW[model.mode]}`;
}

function joined(parts) {
	if (parts.length < 2)
		return parts.join('');
	return `${parts.slice(0, -1).join(', ')}, and ${parts[parts.length - 1]}`;
}

function holdsClause(pcr, holds, ownersPassed) {
	const models = holds.models.map((model) => describe(model, ownersPassed));
	let text = `PCR ${pcr} holds `;
	if (models.length === 0)
		text += 'no model';
	else if (models.length === 1)
		text += `${holds.unknown > 0 ? 'one model' : 'exactly one model'}: ${models[0]}`;
	else
		text += `${models.length} models: ${joined(models)}`;
	if (holds.systemd > 0)
		text += `, after ${counted(holds.systemd, 'of systemd')}`;
	if (holds.unknown > 0)
		text += `, and ${counted(holds.unknown, 'that nobody explains')}`;
	return text;
}

function ageClause(facts) {
	if (facts.age === null)
		return `document of ${new Date(facts.timestamp).toISOString().slice(0, 19)}Z`;
	return `document ${Math.max(facts.age, 0)} s old${facts.nonceAsked ? '' : ' (no nonce)'}`;
}

// facts: {pcr, holds (null: nothing was asked about it), ownersPassed, bootAsked, age (null: not
// asked), nonceAsked, timestamp}.
export function verifiedSentence(facts) {
	const holds = facts.holds ? holdsClause(facts.pcr, facts.holds, facts.ownersPassed)
		: 'The document is genuine';
	return `${holds}; ${facts.bootAsked ? 'boot image matches' : 'boot image not checked'}; ${ageClause(facts)}.`;
}

export function refusedSentence(reason) {
	return `Not verified: ${reason}.`;
}
