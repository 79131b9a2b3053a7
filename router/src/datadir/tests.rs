//! What may be read by others is refused; what is written comes back.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn directory() -> (tempfile::TempDir, DataDir) {
    let temporary = tempfile::tempdir().unwrap();
    let data_dir = DataDir::create(&temporary.path().join("raddle")).unwrap();
    (temporary, data_dir)
}

#[test]
fn a_secret_is_readable_by_its_owner_alone_and_never_replaced() {
    let (_temporary, data_dir) = directory();
    let secret = Secret::new([7; 32]);
    data_dir.write_secret(SecretFile::Signing, &secret).unwrap();
    assert_eq!(data_dir.read_secret(SecretFile::Signing).unwrap().bytes(), secret.bytes());
    assert_eq!(fs::metadata(data_dir.path().join("signing.key")).unwrap().mode() & 0o777, 0o600);
    assert!(matches!(data_dir.write_secret(SecretFile::Signing, &secret), Err(DataDirError::Write { .. })));
}

#[test]
fn a_secret_that_is_kept_takes_the_place_of_the_one_before() {
    let (_temporary, data_dir) = directory();
    for byte in [7, 7, 8] {
        data_dir.keep_secret(SecretFile::Psk, &Secret::new([byte; 32])).unwrap();
        assert_eq!(data_dir.read_secret(SecretFile::Psk).unwrap().bytes(), &[byte; 32]);
    }
    let names: Vec<_> = fs::read_dir(data_dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["cluster.psk"]);
}

#[test]
fn keys_and_directories_open_to_others_are_refused_with_the_remedy() {
    let (_temporary, data_dir) = directory();
    data_dir.write_secret(SecretFile::Noise, &Secret::new([7; 32])).unwrap();
    let key = data_dir.path().join("noise.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let message = data_dir.read_secret(SecretFile::Noise).unwrap_err().to_string();
    assert!(message.contains("mode 0644") && message.contains("chmod 0600"), "{message}");
    fs::set_permissions(data_dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let message = DataDir::open(data_dir.path()).unwrap_err().to_string();
    assert!(message.contains("chmod 0700"), "{message}");
}

#[test]
fn a_renewal_that_was_interrupted_is_finished_or_undone() {
    let (old, new) = (Secret::new([7; 32]), Secret::new([8; 32]));
    for meant in [&old, &new] {
        let (_temporary, data_dir) = directory();
        data_dir.write_secret(SecretFile::Noise, &old).unwrap();
        data_dir.write_next_noise_key(&old.noise_public(), &Secret::new([9; 32])).unwrap();
        data_dir.write_next_noise_key(&old.noise_public(), &new).unwrap();
        for _ in 0..2 {
            let settled = data_dir.settle_noise_key(&meant.noise_public()).unwrap();
            assert_eq!(settled.bytes(), meant.bytes());
            assert!(!data_dir.has_secret(SecretFile::NextNoise));
        }
    }
}

#[test]
fn a_key_in_use_that_has_kept_its_provisional_file_outlives_the_next_renewal() {
    let [old, in_use, next] = [7, 8, 9].map(|byte| Secret::new([byte; 32]));
    let (_temporary, data_dir) = directory();
    data_dir.write_secret(SecretFile::Noise, &old).unwrap();
    data_dir.write_next_noise_key(&old.noise_public(), &in_use).unwrap();
    data_dir.write_next_noise_key(&in_use.noise_public(), &next).unwrap();
    assert_eq!(data_dir.settle_noise_key(&in_use.noise_public()).unwrap().bytes(), in_use.bytes());
}

#[test]
fn no_key_goes_while_none_is_the_one_that_is_meant() {
    let [other, next, meant] = [7, 8, 9].map(|byte| Secret::new([byte; 32]));
    let (_temporary, data_dir) = directory();
    data_dir.write_secret(SecretFile::Noise, &other).unwrap();
    data_dir.write_next_noise_key(&other.noise_public(), &next).unwrap();
    data_dir.settle_noise_key(&meant.noise_public()).unwrap();
    assert_eq!(data_dir.read_secret(SecretFile::Noise).unwrap().bytes(), other.bytes());
    assert_eq!(data_dir.read_secret(SecretFile::NextNoise).unwrap().bytes(), next.bytes());
}

#[test]
fn half_a_key_replaces_none() {
    let (_temporary, data_dir) = directory();
    let secret = Secret::new([7; 32]);
    data_dir.write_secret(SecretFile::Noise, &secret).unwrap();
    data_dir.write_next_noise_key(&secret.noise_public(), &secret).unwrap();
    let cut = OpenOptions::new().write(true).open(data_dir.path().join("noise.key.next")).unwrap();
    cut.set_len(5).unwrap();
    assert_eq!(data_dir.settle_noise_key(&secret.noise_public()).unwrap().bytes(), secret.bytes());
    assert!(!data_dir.has_secret(SecretFile::NextNoise));
}
