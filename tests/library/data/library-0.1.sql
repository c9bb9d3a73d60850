-- Made by genrescope 0.1; paths are relative to the folder of the test.
PRAGMA application_id = 1735291747;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE changes (
  id INTEGER PRIMARY KEY,
  path NOT NULL,
  change TEXT NOT NULL,
  undone INTEGER NOT NULL DEFAULT 0
);
INSERT INTO "changes" VALUES(1,'/tmp/library-0.1/tagged.wav','{"path": "/tmp/library-0.1/tagged.wav", "time": "2026-11-26T11:55:03+00:00", "before": [], "after": ["Classical"], "mtime_before": 1795694097048214639, "patch": {"old": "1108d298d31177c5b0654322178b6bcdd1ec649241fda82ff9c5c4088af35ebc", "new": "41a7e43cc13a4443bab7158c45732affc79eb3723854a764472eb806b5949535", "data": "eNpbY8cABlecIPQaKJ8RQjGwQGkmIF5iBwBwDAPU"}}',0);
CREATE TABLE files (
  id INTEGER PRIMARY KEY,
  path NOT NULL UNIQUE,
  size INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL,
  hash TEXT,
  format TEXT, codec TEXT, sample_rate INTEGER, channels INTEGER, seconds REAL,
  model TEXT NOT NULL, model_name TEXT NOT NULL, excerpts INTEGER NOT NULL,
  genre TEXT, score REAL, unsure INTEGER, scores TEXT, styles TEXT, flags TEXT, timeline TEXT,
  error TEXT, message TEXT, hint TEXT,
  scanned REAL NOT NULL,
  gone INTEGER NOT NULL DEFAULT 0
);
INSERT INTO "files" VALUES(1,'/tmp/library-0.1/broken.mp3',0,1795694097048214639,'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',NULL,NULL,NULL,NULL,NULL,'21149b9212a45ee2c5354303b7ece6fd9c221cfc8ad5a6b95a401e8fd923e748','student-gtzan-2@21149b92',0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'audio_empty','/tmp/library-0.1/broken.mp3: empty','copy or download it again; it has 0 bytes',1.79569410087613987926e+09,0);
INSERT INTO "files" VALUES(2,'/tmp/library-0.1/tagged.wav',17108,1795694103358038835,'41a7e43cc13a4443bab7158c45732affc79eb3723854a764472eb806b5949535','wav','pcm_u8',8000,1,2.0,'21149b9212a45ee2c5354303b7ece6fd9c221cfc8ad5a6b95a401e8fd923e748','student-gtzan-2@21149b92',0,'classical',0.720655,0,'{"classical": 0.720655, "metal": 0.084527, "jazz": 0.047904, "country": 0.040608, "hiphop": 0.035402, "rock": 0.027756, "blues": 0.014072, "pop": 0.012757, "disco": 0.011727, "reggae": 0.004592}','{}','[]','[{"start": 0.0, "end": 2.0, "genre": "classical", "score": 0.720655}]',NULL,NULL,NULL,1.79569410277999353406e+09,0);
CREATE INDEX changes_by_path ON changes (path);
CREATE INDEX files_by_hash ON files (hash);
CREATE INDEX files_by_size ON files (size);
CREATE INDEX files_by_genre ON files (genre);
COMMIT;
