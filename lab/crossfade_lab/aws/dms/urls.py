"""The one path of the DMS API; moto reads `url_bases` and `url_paths`."""

from crossfade_lab.aws.dms.responses import DmsResponse

url_bases = [r"https?://dms\.(.+)\.amazonaws\.com"]
url_paths = {"{0}/$": DmsResponse.dispatch}
