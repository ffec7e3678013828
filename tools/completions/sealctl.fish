# Completion of sealctl for fish. Verbs and options come from its own --help, so that nothing is
# listed twice.

function __sealctl_verbs
    sealctl --help 2>/dev/null | sed -nE '/^Verbs:/,/^$/s/^  ([a-z-]+) +(.*)/\1\t\2/p'
end

function __sealctl_options
    set -l words (commandline -opc)
    sealctl $words[2] --help 2>/dev/null |
        sed -nE -e 's/^  (-[a-z]), (--[a-z0-9-]+).*/\1\n\2/p' -e 's/^      (--[a-z0-9-]+).*/\1/p'
end

function __sealctl_at -a count
    test (count (commandline -opc)) -eq $count
end

complete -c sealctl -n '__sealctl_at 1' -f -a '(__sealctl_verbs) --help --version'
complete -c sealctl -n '__sealctl_at 2; and __fish_seen_subcommand_from keygen' -f -a 'owner key-file'
complete -c sealctl -n 'not __sealctl_at 1; and string match -q -- "-*" (commandline -ct)' -a '(__sealctl_options)'
