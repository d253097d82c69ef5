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
'--admin=[Address of health, readiness and metrics, or \`off\` \[default\: 127.0.0.1\:3001\]]:ADDR:PORT:_default' \
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
'doctor:Try origins, credentials, buckets, disk, limits, ports and certificates, and say what to do' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 's3proxy commands' commands "$@"
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
'doctor:Try origins, credentials, buckets, disk, limits, ports and certificates, and say what to do' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 's3proxy help commands' commands "$@"
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
