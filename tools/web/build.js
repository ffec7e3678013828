// Makes verify.html of src/: one file with script, style and the licences of the libraries in it, and a
// Content-Security-Policy that permits this script and this style alone. The same sources and the same
// lock file give the same bytes. Usage: npm ci --ignore-scripts && npm run build

import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild-wasm';

const here = dirname(fileURLToPath(import.meta.url));

async function bundle(name) {
	const built = await esbuild.build({
		absWorkingDir: here, entryPoints: [`src/${name}`], bundle: true, minify: true, write: false,
		format: 'iife', target: 'es2022', charset: 'utf8', legalComments: 'none', metafile: true,
	});
	return { text: built.outputFiles[0].text.trimEnd(), inputs: Object.keys(built.metafile.inputs) };
}

// The libraries that are in the page, from what esbuild read.
function libraries(inputs) {
	const names = inputs.map((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1]);
	return [...new Set(names.filter((name) => name !== undefined))].sort();
}

function licence(name) {
	const folder = join(here, 'node_modules', name);
	const about = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
	const [file] = readdirSync(folder).filter((entry) => /^licen[cs]e/i.test(entry)).sort();
	const text = readFileSync(join(folder, file), 'utf8').replace(/\r\n/g, '\n').trim();
	return `${about.name} ${about.version} (${about.license})\n\n${text}\n`;
}

function escapeHtml(text) {
	return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function hash(text) {
	return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}

const script = await bundle('ui.js');
const style = await bundle('page.css');
if (/<\/(?:script|style)/i.test(script.text + style.text))
	throw new Error('the bundle would end its own element');
const policy = `default-src 'none'; script-src ${hash(script.text)}; style-src ${hash(style.text)}; ` +
	"connect-src *; base-uri 'none'; form-action 'none'";
const parts = {
	CSP: policy, STYLE: style.text, SCRIPT: script.text,
	LICENCES: escapeHtml(libraries(script.inputs).map(licence).join('\n' + '-'.repeat(72) + '\n\n')),
};
const page = readFileSync(join(here, 'src', 'page.html'), 'utf8');
writeFileSync(process.argv[2] ?? join(here, 'verify.html'),
	page.replace(/@(CSP|STYLE|SCRIPT|LICENCES)@/g, (_, name) => parts[name]));
await esbuild.stop();
