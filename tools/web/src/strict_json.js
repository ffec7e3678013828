// JSON with one meaning: JSON.parse() takes the last of two members of one name, a verifier must not.
// Nor does it take strings that hold NUL, at which other readers end, or what is not Unicode.

const BLANK = /\s/;

// The index behind a string whose opening quote is at start.
function behindString(text, start) {
	let at = start + 1;
	while (text[at] !== '"')
		at += text[at] === '\\' ? 2 : 1;
	return at + 1;
}

// True if a string of the text escapes NUL or half of a surrogate pair.
function isOdd(string) {
	return string.includes('\\u') && /\0|[\ud800-\udfff]/u.test(JSON.parse(string));
}

// The text is JSON already, so that only strings, braces and colons have to be told apart.
function isAmbiguous(text) {
	const open = []; // the names so far for each open brace, null for a bracket
	for (let at = 0; at < text.length; at++) {
		const sign = text[at];
		if (sign === '{' || sign === '[') {
			open.push(sign === '{' ? new Set() : null);
		} else if (sign === '}' || sign === ']') {
			open.pop();
		} else if (sign === '"') {
			const end = behindString(text, at);
			if (isOdd(text.slice(at, end)))
				return true;
			let next = end;
			while (next < text.length && BLANK.test(text[next]))
				next++;
			if (text[next] === ':') {
				const name = JSON.parse(text.slice(at, end));
				const names = open[open.length - 1];
				if (names.has(name))
					return true;
				names.add(name);
			}
			at = end - 1;
		}
	}
	return false;
}

// The value, or undefined if the text is not JSON or is not to be relied on.
export function parseJson(text) {
	let value;
	try {
		value = JSON.parse(text);
	} catch {
		return undefined;
	}
	return isAmbiguous(text) ? undefined : value;
}

export function isObject(value) {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}
