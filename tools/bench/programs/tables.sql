-- SQL of the benchmark guest, for the sqlite3 shell on a database in memory: inserts, indexes, joins, updates, text.
-- Prints one line that is the same everywhere.
CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, town INTEGER, paid REAL);
CREATE TABLE town (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 199)
INSERT INTO town SELECT i, 'town ' || (i * 7919 % 200) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
INSERT INTO person SELECT i, printf('person %05d', i * 7919 % 100003), i * 104729 % 200, i % 977 / 8.0 FROM n;
COMMIT;
CREATE INDEX person_name ON person (name);
CREATE INDEX person_town ON person (town, paid);
UPDATE person SET paid = paid + 1 WHERE name LIKE '%7%';
DELETE FROM person WHERE id % 17 = 0;
CREATE TABLE answer (part TEXT);
INSERT INTO answer SELECT sum(paid) FROM person JOIN town ON town.id = person.town WHERE town.name < 'town 5';
INSERT INTO answer SELECT count(*) FROM person a JOIN person b ON b.name = printf('person %05d', a.id) WHERE a.paid > b.paid;
INSERT INTO answer SELECT total FROM (SELECT town, sum(paid) AS total FROM person GROUP BY town ORDER BY total DESC LIMIT 1);
INSERT INTO answer SELECT max(length(words)) FROM (SELECT group_concat(name) AS words FROM person GROUP BY town);
SELECT group_concat(part, ' ') FROM answer;
