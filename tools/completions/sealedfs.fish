# Completion of sealedfs for fish. The mount options come from its own --help, so that nothing is
# listed twice.

function __sealedfs_options
    # Behind the last comma.
    set -l before (string match -r '^.*,' -- (commandline -ct))
    sealedfs --help 2>/dev/null | awk -v before="$before" '
        /^Exit status/ { exit }
        /^Trust and keys/ { on = 1 }
        on && /^  [a-z]/ {
            sub(/^  /, ""); sub(/  .*/, "")
            n = split($0, words, /[ ,]+/)
            for (i = 1; i <= n; i++) { sub(/=.*/, "=", words[i]); print before words[i] }
        }'
end

complete -c sealedfs -s o -x -a '(__sealedfs_options)' -d 'mount options'
complete -c sealedfs -s f -l foreground -d 'stay in the foreground'
complete -c sealedfs -s v -l verbose -d 'log more'
complete -c sealedfs -s d -l debug -d 'log everything'
complete -c sealedfs -l config -r -F -d 'mount as this file describes'
complete -c sealedfs -l unmount -d 'remove a mount whose daemon has died'
complete -c sealedfs -l reload -d 'read the listing again'
complete -c sealedfs -s V -l version -d 'print the version'
complete -c sealedfs -s h -l help -d 'print help'
