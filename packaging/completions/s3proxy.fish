# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_s3proxy_global_optspecs
    string join \n e/endpoint= p/port= listen= c/conf= t/test u/upgrade d/daemon admin= cache-dir= cache-memory= cache-disk= h/help V/version
end

function __fish_s3proxy_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_s3proxy_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_s3proxy_using_subcommand
    set -l cmd (__fish_s3proxy_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c s3proxy -n "__fish_s3proxy_needs_command" -s e -l endpoint -d 'The S3 endpoint to forward to: http or https, host, port' -r
complete -c s3proxy -n "__fish_s3proxy_needs_command" -s p -l port -d 'Port to listen on [default: 3000]' -r
complete -c s3proxy -n "__fish_s3proxy_needs_command" -l listen -d 'Address to listen on; 0.0.0.0 serves other machines [default: 127.0.0.1]' -r
complete -c s3proxy -n "__fish_s3proxy_needs_command" -s c -l conf -d 'The configuration file (YAML)' -r -F
complete -c s3proxy -n "__fish_s3proxy_needs_command" -l admin -d 'Where health, metrics and the like are: ADDR:PORT, unix:/PATH or `off` [default: 127.0.0.1:3001]' -r
complete -c s3proxy -n "__fish_s3proxy_needs_command" -l cache-dir -d 'Directory of the disk cache [default: none, memory only]' -r -F
complete -c s3proxy -n "__fish_s3proxy_needs_command" -l cache-memory -d 'Memory for cached blocks, such as 4GiB' -r
complete -c s3proxy -n "__fish_s3proxy_needs_command" -l cache-disk -d 'Disk for cached blocks, such as 200GiB' -r
complete -c s3proxy -n "__fish_s3proxy_needs_command" -s t -l test -d 'Check the configuration, say what is wrong, exit'
complete -c s3proxy -n "__fish_s3proxy_needs_command" -s u -l upgrade -d 'Take the listeners over from the running process'
complete -c s3proxy -n "__fish_s3proxy_needs_command" -s d -l daemon -d 'Run in the background'
complete -c s3proxy -n "__fish_s3proxy_needs_command" -s h -l help -d 'Print help'
complete -c s3proxy -n "__fish_s3proxy_needs_command" -s V -l version -d 'Print version'
complete -c s3proxy -n "__fish_s3proxy_needs_command" -f -a "upgrade" -d 'Have the running process replaced by a new one, without dropping a request; when the new one does not serve, the running one goes on'
complete -c s3proxy -n "__fish_s3proxy_needs_command" -f -a "ctl" -d 'Look at a running proxy; purge and warm its cache'
complete -c s3proxy -n "__fish_s3proxy_needs_command" -f -a "doctor" -d 'Try origins, credentials, buckets, disk, limits, ports and certificates, and say what to do'
complete -c s3proxy -n "__fish_s3proxy_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand upgrade" -s h -l help -d 'Print help'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and not __fish_seen_subcommand_from status stats top explain purge warm help" -l admin -d 'The admin listener: http://HOST:PORT, HOST:PORT or unix:/PATH [default: 127.0.0.1:3001]' -r
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and not __fish_seen_subcommand_from status stats top explain purge warm help" -l token-file -d 'File with the admin listener\'s token' -r -F
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and not __fish_seen_subcommand_from status stats top explain purge warm help" -l json -d 'Print the answer as JSON, as the admin listener gives it'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and not __fish_seen_subcommand_from status stats top explain purge warm help" -s h -l help -d 'Print help'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and not __fish_seen_subcommand_from status stats top explain purge warm help" -f -a "status" -d 'Whether it is ready: origins, tiers of the cache'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and not __fish_seen_subcommand_from status stats top explain purge warm help" -f -a "stats" -d 'Figures since the start: requests, hits, bytes, what was saved'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and not __fish_seen_subcommand_from status stats top explain purge warm help" -f -a "top" -d 'The objects and prefixes that are read most'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and not __fish_seen_subcommand_from status stats top explain purge warm help" -f -a "explain" -d 'What is known of an object: is it cached, by which rule, who may read it'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and not __fish_seen_subcommand_from status stats top explain purge warm help" -f -a "purge" -d 'Delete from the cache; the origin keeps what it has'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and not __fish_seen_subcommand_from status stats top explain purge warm help" -f -a "warm" -d 'Fetch into the cache before anybody asks'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and not __fish_seen_subcommand_from status stats top explain purge warm help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from status" -l admin -d 'The admin listener: http://HOST:PORT, HOST:PORT or unix:/PATH [default: 127.0.0.1:3001]' -r
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from status" -l token-file -d 'File with the admin listener\'s token' -r -F
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from status" -l json -d 'Print the answer as JSON, as the admin listener gives it'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from stats" -l admin -d 'The admin listener: http://HOST:PORT, HOST:PORT or unix:/PATH [default: 127.0.0.1:3001]' -r
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from stats" -l token-file -d 'File with the admin listener\'s token' -r -F
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from stats" -l json -d 'Print the answer as JSON, as the admin listener gives it'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from stats" -s h -l help -d 'Print help'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from top" -l by -d 'What counts' -r -f -a "requests\t'Many requests'
bytes\t'Many bytes'
misses\t'Many misses'"
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from top" -l limit -d 'Rows of each kind' -r
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from top" -l admin -d 'The admin listener: http://HOST:PORT, HOST:PORT or unix:/PATH [default: 127.0.0.1:3001]' -r
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from top" -l token-file -d 'File with the admin listener\'s token' -r -F
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from top" -l json -d 'Print the answer as JSON, as the admin listener gives it'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from top" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from explain" -l admin -d 'The admin listener: http://HOST:PORT, HOST:PORT or unix:/PATH [default: 127.0.0.1:3001]' -r
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from explain" -l token-file -d 'File with the admin listener\'s token' -r -F
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from explain" -l json -d 'Print the answer as JSON, as the admin listener gives it'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from explain" -s h -l help -d 'Print help'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from purge" -l prefix -d 'Every object whose key begins so; BUCKET/ is the whole bucket' -r
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from purge" -l origin -d 'The origin that the objects came from, when another one serves the bucket now' -r
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from purge" -l admin -d 'The admin listener: http://HOST:PORT, HOST:PORT or unix:/PATH [default: 127.0.0.1:3001]' -r
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from purge" -l token-file -d 'File with the admin listener\'s token' -r -F
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from purge" -l json -d 'Print the answer as JSON, as the admin listener gives it'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from purge" -s h -l help -d 'Print help'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from warm" -l prefix -d 'Every object whose key begins so, as the origin lists them' -r
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from warm" -l mode -d 'How much of each object' -r -f -a "footer\t'The last 512 KiB, where data files have their footer'
whole\t'All of it'"
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from warm" -l limit -d 'Objects at most [default: 100000]' -r
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from warm" -l admin -d 'The admin listener: http://HOST:PORT, HOST:PORT or unix:/PATH [default: 127.0.0.1:3001]' -r
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from warm" -l token-file -d 'File with the admin listener\'s token' -r -F
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from warm" -l json -d 'Print the answer as JSON, as the admin listener gives it'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from warm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from help" -f -a "status" -d 'Whether it is ready: origins, tiers of the cache'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from help" -f -a "stats" -d 'Figures since the start: requests, hits, bytes, what was saved'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from help" -f -a "top" -d 'The objects and prefixes that are read most'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from help" -f -a "explain" -d 'What is known of an object: is it cached, by which rule, who may read it'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from help" -f -a "purge" -d 'Delete from the cache; the origin keeps what it has'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from help" -f -a "warm" -d 'Fetch into the cache before anybody asks'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand ctl; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand doctor" -l bucket -d 'A further bucket to try, beside those that the configuration names' -r
complete -c s3proxy -n "__fish_s3proxy_using_subcommand doctor" -l write -d 'Write as well, where the rules allow it: one small object, which is deleted again'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand doctor" -l json -d 'Tell it as JSON'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand help; and not __fish_seen_subcommand_from upgrade ctl doctor help" -f -a "upgrade" -d 'Have the running process replaced by a new one, without dropping a request; when the new one does not serve, the running one goes on'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand help; and not __fish_seen_subcommand_from upgrade ctl doctor help" -f -a "ctl" -d 'Look at a running proxy; purge and warm its cache'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand help; and not __fish_seen_subcommand_from upgrade ctl doctor help" -f -a "doctor" -d 'Try origins, credentials, buckets, disk, limits, ports and certificates, and say what to do'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand help; and not __fish_seen_subcommand_from upgrade ctl doctor help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand help; and __fish_seen_subcommand_from ctl" -f -a "status" -d 'Whether it is ready: origins, tiers of the cache'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand help; and __fish_seen_subcommand_from ctl" -f -a "stats" -d 'Figures since the start: requests, hits, bytes, what was saved'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand help; and __fish_seen_subcommand_from ctl" -f -a "top" -d 'The objects and prefixes that are read most'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand help; and __fish_seen_subcommand_from ctl" -f -a "explain" -d 'What is known of an object: is it cached, by which rule, who may read it'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand help; and __fish_seen_subcommand_from ctl" -f -a "purge" -d 'Delete from the cache; the origin keeps what it has'
complete -c s3proxy -n "__fish_s3proxy_using_subcommand help; and __fish_seen_subcommand_from ctl" -f -a "warm" -d 'Fetch into the cache before anybody asks'
