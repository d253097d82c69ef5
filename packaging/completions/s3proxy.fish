complete -c s3proxy -s e -l endpoint -d 'The S3 endpoint to forward to: http or https, host, port' -r
complete -c s3proxy -s p -l port -d 'Port to listen on [default: 3000]' -r
complete -c s3proxy -l listen -d 'Address to listen on; 0.0.0.0 serves other machines [default: 127.0.0.1]' -r
complete -c s3proxy -s c -l conf -d 'The configuration file (YAML)' -r -F
complete -c s3proxy -l admin -d 'Address of health, readiness and metrics, or `off` [default: 127.0.0.1:3001]' -r
complete -c s3proxy -l cache-dir -d 'Directory of the disk cache [default: none, memory only]' -r -F
complete -c s3proxy -l cache-memory -d 'Memory for cached blocks, such as 4GiB' -r
complete -c s3proxy -l cache-disk -d 'Disk for cached blocks, such as 200GiB' -r
complete -c s3proxy -s t -l test -d 'Check the configuration, say what is wrong, exit'
complete -c s3proxy -s u -l upgrade -d 'Take the listeners over from the running process'
complete -c s3proxy -s d -l daemon -d 'Run in the background'
complete -c s3proxy -s h -l help -d 'Print help'
complete -c s3proxy -s V -l version -d 'Print version'
