//! Settings to copy: how each engine is pointed at the proxy.

use std::net::SocketAddr;

use super::BUCKET;
use super::terminal::Terminal;
use crate::origin::Key;

/// The engines that people ask for. A line that starts with `-- ` is a title.
const SETTINGS: &str = "\
-- DuckDB
CREATE SECRET demo (TYPE s3, KEY_ID '$ID', SECRET '$SECRET',
  REGION 'us-east-1', ENDPOINT '$PROXY', URL_STYLE 'path',
  USE_SSL false);
SELECT count(*) FROM 's3://$BUCKET/tpch/orders.parquet';

-- Polars
pl.read_parquet('s3://$BUCKET/tpch/orders.parquet', storage_options={
  'aws_access_key_id': '$ID', 'aws_secret_access_key': '$SECRET',
  'aws_region': 'us-east-1', 'aws_endpoint_url': 'http://$PROXY',
  'aws_allow_http': 'true'})

-- PyArrow
s3 = pyarrow.fs.S3FileSystem(scheme='http', endpoint_override='$PROXY',
  region='us-east-1', access_key='$ID', secret_key='$SECRET')
pyarrow.parquet.read_table('$BUCKET/tpch/orders.parquet', filesystem=s3)

-- boto3
s3 = boto3.client('s3', region_name='us-east-1',
  endpoint_url='http://$PROXY', aws_access_key_id='$ID',
  aws_secret_access_key='$SECRET')

-- AWS CLI
export AWS_ACCESS_KEY_ID=$ID AWS_SECRET_ACCESS_KEY=$SECRET
export AWS_REGION=us-east-1 AWS_ENDPOINT_URL=http://$PROXY
aws s3 ls --recursive s3://$BUCKET/

-- ClickHouse
SELECT count() FROM s3('http://$PROXY/$BUCKET/tpch/orders.parquet',
  '$ID', '$SECRET')

";

/// Returns the settings of each engine with the demonstration's key filled in.
pub(crate) fn settings(proxy: SocketAddr, key: &Key, terminal: &Terminal) -> String {
    let filled = SETTINGS
        .replace("$PROXY", &proxy.to_string())
        .replace("$BUCKET", BUCKET)
        .replace("$ID", &key.id)
        .replace("$SECRET", &key.secret);
    let mut text = String::with_capacity(filled.len());
    for line in filled.lines() {
        let is_title = line.starts_with("-- ");
        text.push_str(&if is_title {
            terminal.bold(line)
        } else {
            line.to_owned()
        });
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_fit_a_terminal_and_name_the_key() {
        let key = Key {
            id: "demo".to_owned(),
            secret: "AbCdEfGhIjKlMnOpQrSt".to_owned(),
        };
        let proxy = SocketAddr::from(([127, 0, 0, 1], 49152));
        let text = settings(proxy, &key, &Terminal::plain());
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert_eq!(text.matches(&key.secret).count(), 6);
        assert!(!text.contains('$'), "{text}");
    }
}
