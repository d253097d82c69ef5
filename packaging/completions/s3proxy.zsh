#compdef s3proxy

autoload -U is-at-least

_s3proxy() {
    typeset -A opt_args
    typeset -a _arguments_options
    local ret=1

    if is-at-least 5.2; then
        _arguments_options=(-s -S -C)
    else
        _arguments_options=(-s -C)
    fi

    local context curcontext="$curcontext" state line
    _arguments "${_arguments_options[@]}" : \
'-e+[The S3 endpoint to forward to\: http or https, host, port]:URL:_default' \
'--endpoint=[The S3 endpoint to forward to\: http or https, host, port]:URL:_default' \
'-p+[Port to listen on \[default\: 3000\]]:PORT:_default' \
'--port=[Port to listen on \[default\: 3000\]]:PORT:_default' \
'--listen=[Address to listen on; 0.0.0.0 serves other machines \[default\: 127.0.0.1\]]:ADDR:_default' \
'-c+[The configuration file (YAML)]:FILE:_files' \
'--conf=[The configuration file (YAML)]:FILE:_files' \
'--admin=[Where health, metrics and the like are\: ADDR\:PORT, unix\:/PATH or \`off\` \[default\: 127.0.0.1\:3001\]]:ADDR:PORT:_default' \
'--cache-dir=[Directory of the disk cache \[default\: none, memory only\]]:DIR:_files' \
'--cache-memory=[Memory for cached blocks, such as 4GiB]:SIZE:_default' \
'--cache-disk=[Disk for cached blocks, such as 200GiB]:SIZE:_default' \
'-t[Check the configuration, say what is wrong, exit]' \
'--test[Check the configuration, say what is wrong, exit]' \
'-u[Take the listeners over from the running process]' \
'--upgrade[Take the listeners over from the running process]' \
'-d[Run in the background]' \
'--daemon[Run in the background]' \
'-h[Print help]' \
'--help[Print help]' \
'-V[Print version]' \
'--version[Print version]' \
":: :_s3proxy_commands" \
"*::: :->s3proxy" \
&& ret=0
    case $state in
    (s3proxy)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:s3proxy-command-$line[1]:"
        case $line[1] in
            (upgrade)
_arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(ctl)
_arguments "${_arguments_options[@]}" : \
'--admin=[The admin listener\: http\://HOST\:PORT, HOST\:PORT or unix\:/PATH \[default\: 127.0.0.1\:3001\]]:URL:_default' \
'--token-file=[File with the admin listener'\''s token]:FILE:_files' \
'--json[Print the answer as JSON, as the admin listener gives it]' \
'-h[Print help]' \
'--help[Print help]' \
":: :_s3proxy__subcmd__ctl_commands" \
"*::: :->ctl" \
&& ret=0

    case $state in
    (ctl)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:s3proxy-ctl-command-$line[1]:"
        case $line[1] in
            (status)
_arguments "${_arguments_options[@]}" : \
'--admin=[The admin listener\: http\://HOST\:PORT, HOST\:PORT or unix\:/PATH \[default\: 127.0.0.1\:3001\]]:URL:_default' \
'--token-file=[File with the admin listener'\''s token]:FILE:_files' \
'--json[Print the answer as JSON, as the admin listener gives it]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(stats)
_arguments "${_arguments_options[@]}" : \
'--admin=[The admin listener\: http\://HOST\:PORT, HOST\:PORT or unix\:/PATH \[default\: 127.0.0.1\:3001\]]:URL:_default' \
'--token-file=[File with the admin listener'\''s token]:FILE:_files' \
'--json[Print the answer as JSON, as the admin listener gives it]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(top)
_arguments "${_arguments_options[@]}" : \
'--by=[What counts]:BY:((requests\:"Many requests"
bytes\:"Many bytes"
misses\:"Many misses"))' \
'--limit=[Rows of each kind]:LIMIT:_default' \
'--admin=[The admin listener\: http\://HOST\:PORT, HOST\:PORT or unix\:/PATH \[default\: 127.0.0.1\:3001\]]:URL:_default' \
'--token-file=[File with the admin listener'\''s token]:FILE:_files' \
'--json[Print the answer as JSON, as the admin listener gives it]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(explain)
_arguments "${_arguments_options[@]}" : \
'--admin=[The admin listener\: http\://HOST\:PORT, HOST\:PORT or unix\:/PATH \[default\: 127.0.0.1\:3001\]]:URL:_default' \
'--token-file=[File with the admin listener'\''s token]:FILE:_files' \
'--json[Print the answer as JSON, as the admin listener gives it]' \
'-h[Print help]' \
'--help[Print help]' \
':object -- The object:_default' \
&& ret=0
;;
(purge)
_arguments "${_arguments_options[@]}" : \
'--prefix=[Every object whose key begins so; BUCKET/ is the whole bucket]:BUCKET/PREFIX:_default' \
'--origin=[The origin that the objects came from, when another one serves the bucket now]:NAME:_default' \
'--admin=[The admin listener\: http\://HOST\:PORT, HOST\:PORT or unix\:/PATH \[default\: 127.0.0.1\:3001\]]:URL:_default' \
'--token-file=[File with the admin listener'\''s token]:FILE:_files' \
'--json[Print the answer as JSON, as the admin listener gives it]' \
'-h[Print help]' \
'--help[Print help]' \
'::object -- The object:_default' \
&& ret=0
;;
(warm)
_arguments "${_arguments_options[@]}" : \
'--prefix=[Every object whose key begins so, as the origin lists them]:BUCKET/PREFIX:_default' \
'--mode=[How much of each object]:MODE:((footer\:"The last 512 KiB, where data files have their footer"
whole\:"All of it"))' \
'--limit=[Objects at most \[default\: 100000\]]:LIMIT:_default' \
'--admin=[The admin listener\: http\://HOST\:PORT, HOST\:PORT or unix\:/PATH \[default\: 127.0.0.1\:3001\]]:URL:_default' \
'--token-file=[File with the admin listener'\''s token]:FILE:_files' \
'--json[Print the answer as JSON, as the admin listener gives it]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::objects -- Objects of one bucket:_default' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_s3proxy__subcmd__ctl__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:s3proxy-ctl-help-command-$line[1]:"
        case $line[1] in
            (status)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(stats)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(top)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(explain)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(purge)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(warm)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
;;
(doctor)
_arguments "${_arguments_options[@]}" : \
'*--bucket=[A further bucket to try, beside those that the configuration names]:NAME:_default' \
'--write[Write as well, where the rules allow it\: one small object, which is deleted again]' \
'--json[Tell it as JSON]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_s3proxy__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:s3proxy-help-command-$line[1]:"
        case $line[1] in
            (upgrade)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(ctl)
_arguments "${_arguments_options[@]}" : \
":: :_s3proxy__subcmd__help__subcmd__ctl_commands" \
"*::: :->ctl" \
&& ret=0

    case $state in
    (ctl)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:s3proxy-help-ctl-command-$line[1]:"
        case $line[1] in
            (status)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(stats)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(top)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(explain)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(purge)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(warm)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
(doctor)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
}

(( $+functions[_s3proxy_commands] )) ||
_s3proxy_commands() {
    local commands; commands=(
'upgrade:Have the running process replaced by a new one, without dropping a request; when the new one does not serve, the running one goes on' \
'ctl:Look at a running proxy; purge and warm its cache' \
'doctor:Try origins, credentials, buckets, disk, limits, ports and certificates, and say what to do' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 's3proxy commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__ctl_commands] )) ||
_s3proxy__subcmd__ctl_commands() {
    local commands; commands=(
'status:Whether it is ready\: origins, tiers of the cache' \
'stats:Figures since the start\: requests, hits, bytes, what was saved' \
'top:The objects and prefixes that are read most' \
'explain:What is known of an object\: is it cached, by which rule, who may read it' \
'purge:Delete from the cache; the origin keeps what it has' \
'warm:Fetch into the cache before anybody asks' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 's3proxy ctl commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__ctl__subcmd__explain_commands] )) ||
_s3proxy__subcmd__ctl__subcmd__explain_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy ctl explain commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__ctl__subcmd__help_commands] )) ||
_s3proxy__subcmd__ctl__subcmd__help_commands() {
    local commands; commands=(
'status:Whether it is ready\: origins, tiers of the cache' \
'stats:Figures since the start\: requests, hits, bytes, what was saved' \
'top:The objects and prefixes that are read most' \
'explain:What is known of an object\: is it cached, by which rule, who may read it' \
'purge:Delete from the cache; the origin keeps what it has' \
'warm:Fetch into the cache before anybody asks' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 's3proxy ctl help commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__ctl__subcmd__help__subcmd__explain_commands] )) ||
_s3proxy__subcmd__ctl__subcmd__help__subcmd__explain_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy ctl help explain commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__ctl__subcmd__help__subcmd__help_commands] )) ||
_s3proxy__subcmd__ctl__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy ctl help help commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__ctl__subcmd__help__subcmd__purge_commands] )) ||
_s3proxy__subcmd__ctl__subcmd__help__subcmd__purge_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy ctl help purge commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__ctl__subcmd__help__subcmd__stats_commands] )) ||
_s3proxy__subcmd__ctl__subcmd__help__subcmd__stats_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy ctl help stats commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__ctl__subcmd__help__subcmd__status_commands] )) ||
_s3proxy__subcmd__ctl__subcmd__help__subcmd__status_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy ctl help status commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__ctl__subcmd__help__subcmd__top_commands] )) ||
_s3proxy__subcmd__ctl__subcmd__help__subcmd__top_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy ctl help top commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__ctl__subcmd__help__subcmd__warm_commands] )) ||
_s3proxy__subcmd__ctl__subcmd__help__subcmd__warm_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy ctl help warm commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__ctl__subcmd__purge_commands] )) ||
_s3proxy__subcmd__ctl__subcmd__purge_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy ctl purge commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__ctl__subcmd__stats_commands] )) ||
_s3proxy__subcmd__ctl__subcmd__stats_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy ctl stats commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__ctl__subcmd__status_commands] )) ||
_s3proxy__subcmd__ctl__subcmd__status_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy ctl status commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__ctl__subcmd__top_commands] )) ||
_s3proxy__subcmd__ctl__subcmd__top_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy ctl top commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__ctl__subcmd__warm_commands] )) ||
_s3proxy__subcmd__ctl__subcmd__warm_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy ctl warm commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__doctor_commands] )) ||
_s3proxy__subcmd__doctor_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy doctor commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__help_commands] )) ||
_s3proxy__subcmd__help_commands() {
    local commands; commands=(
'upgrade:Have the running process replaced by a new one, without dropping a request; when the new one does not serve, the running one goes on' \
'ctl:Look at a running proxy; purge and warm its cache' \
'doctor:Try origins, credentials, buckets, disk, limits, ports and certificates, and say what to do' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 's3proxy help commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__help__subcmd__ctl_commands] )) ||
_s3proxy__subcmd__help__subcmd__ctl_commands() {
    local commands; commands=(
'status:Whether it is ready\: origins, tiers of the cache' \
'stats:Figures since the start\: requests, hits, bytes, what was saved' \
'top:The objects and prefixes that are read most' \
'explain:What is known of an object\: is it cached, by which rule, who may read it' \
'purge:Delete from the cache; the origin keeps what it has' \
'warm:Fetch into the cache before anybody asks' \
    )
    _describe -t commands 's3proxy help ctl commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__help__subcmd__ctl__subcmd__explain_commands] )) ||
_s3proxy__subcmd__help__subcmd__ctl__subcmd__explain_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy help ctl explain commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__help__subcmd__ctl__subcmd__purge_commands] )) ||
_s3proxy__subcmd__help__subcmd__ctl__subcmd__purge_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy help ctl purge commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__help__subcmd__ctl__subcmd__stats_commands] )) ||
_s3proxy__subcmd__help__subcmd__ctl__subcmd__stats_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy help ctl stats commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__help__subcmd__ctl__subcmd__status_commands] )) ||
_s3proxy__subcmd__help__subcmd__ctl__subcmd__status_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy help ctl status commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__help__subcmd__ctl__subcmd__top_commands] )) ||
_s3proxy__subcmd__help__subcmd__ctl__subcmd__top_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy help ctl top commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__help__subcmd__ctl__subcmd__warm_commands] )) ||
_s3proxy__subcmd__help__subcmd__ctl__subcmd__warm_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy help ctl warm commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__help__subcmd__doctor_commands] )) ||
_s3proxy__subcmd__help__subcmd__doctor_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy help doctor commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__help__subcmd__help_commands] )) ||
_s3proxy__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy help help commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__help__subcmd__upgrade_commands] )) ||
_s3proxy__subcmd__help__subcmd__upgrade_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy help upgrade commands' commands "$@"
}
(( $+functions[_s3proxy__subcmd__upgrade_commands] )) ||
_s3proxy__subcmd__upgrade_commands() {
    local commands; commands=()
    _describe -t commands 's3proxy upgrade commands' commands "$@"
}

if [ "$funcstack[1]" = "_s3proxy" ]; then
    _s3proxy "$@"
else
    compdef _s3proxy s3proxy
fi
