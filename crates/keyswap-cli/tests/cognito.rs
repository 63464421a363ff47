//! The command at an Amazon Cognito, which needs the feature `aws`: without it, it says so.

mod common;

#[cfg(not(feature = "aws"))]
#[test]
fn a_command_without_aws_says_how_to_get_one_with_it() {
    let embedded = common::Embedded::cognito();
    let site = &embedded.site;
    site.import();
    let way_out = ["built without AWS", "--features aws"];
    site.command(&["rotate"]).run().says(2, &way_out);
    let output = site.command(&["verify"]).run();
    output.ends_with(2);
    assert!(way_out.iter().all(|text| output.stdout.contains(text)), "{}", output.stdout);
    assert_eq!(site.state(), None);
    assert_eq!(embedded.server().counts().management_requests, 0);
}

#[cfg(feature = "aws")]
mod with_aws {
    use std::path::Path;

    use super::common::{CLIENT, Command, Embedded};

    const FORWARD: &str = "generated adding added staged adopted confirmed promoted drained";

    /// With no credentials but what a test gives it.
    fn command(embedded: &Embedded, arguments: &[&str]) -> Command {
        let nowhere = embedded.site.path("nowhere");
        let command = embedded.site.command(arguments);
        command
            .environment("AWS_EC2_METADATA_DISABLED", "true")
            .environment("AWS_CONFIG_FILE", &nowhere)
            .environment("AWS_SHARED_CREDENTIALS_FILE", &nowhere)
    }

    fn key(embedded: &Embedded) -> String {
        std::fs::read_to_string(embedded.site.path("management-secret")).unwrap()
    }

    fn with_key(embedded: &Embedded, arguments: &[&str]) -> Command {
        let command = command(embedded, arguments).environment("AWS_ACCESS_KEY_ID", "AKIDROTATOR");
        command.environment("AWS_SECRET_ACCESS_KEY", key(embedded))
    }

    #[test]
    fn rotate_takes_the_credentials_of_awss_own_tools() {
        let embedded = Embedded::cognito();
        let site = &embedded.site;
        site.import();
        embedded.idle_instance();
        let old = embedded.server().secrets(CLIENT);
        let none = ["no AWS credentials", "AWS_PROFILE", "the role of this machine"];
        command(&embedded, &["rotate"]).run().says(4, &none);
        assert_eq!(site.state(), None);
        let verify = with_key(&embedded, &["verify"]).run();
        verify.ends_with(0);
        let says = "cognito accepts the published secret";
        assert!(verify.stdout.contains(says), "{}", verify.stdout);
        assert_eq!(embedded.server().counts().management_writes, 0);
        with_key(&embedded, &["rotate"]).run().ends_with(0);
        let history = site.course();
        assert_eq!(history, format!("{FORWARD} retiring retired removing done"));
        let now = embedded.server().secrets(CLIENT);
        assert!(now.len() == 1 && now != old, "{now:?}");
        assert!(embedded.server().accepts(CLIENT, &site.published()[0]));
        site.vault.search_files();
    }

    #[test]
    fn no_room_and_a_wrong_pool_are_named() {
        let embedded = Embedded::cognito();
        let site = &embedded.site;
        site.import();
        embedded.idle_instance();
        let other = embedded.server().add_secret(CLIENT, "somebodyelsessecret012345");
        with_key(&embedded, &["rotate"]).run().says(1, &["cannot be told", &other]);
        embedded.server().remove_secret(CLIENT, &other);
        site.configure("eu-west-1_keyswap", "eu-west-1_other");
        let wrong = ["no user pool eu-west-1_other in the account"];
        with_key(&embedded, &["rotate"]).run().says(1, &wrong);
        site.configure("eu-west-1_other", "eu-west-1");
        with_key(&embedded, &["rotate"])
            .run()
            .says(2, &["id of the user pool", "eu-west-1_AbCdEfGhI"]);
        assert_eq!(embedded.server().counts().changes, 0);
    }

    /// A profile whose program gives a session that is over, and each time after that one that is not.
    fn profile(embedded: &Embedded, path: &Path) {
        let (key, asked) = (key(embedded), embedded.site.path("asked"));
        let program = embedded.site.path("credentials.sh");
        let answer = |until: &str| {
            format!(
                "echo '{{\"Version\":1,\"AccessKeyId\":\"ASIATEMPORARY\",\"SecretAccessKey\":\"{key}\",\
                 \"SessionToken\":\"until-{until}\"}}'"
            )
        };
        let (over, lasting) = (answer("1"), answer("99999999999"));
        let asked = asked.display();
        let script =
            format!("if [ -e '{asked}' ]; then\n{lasting}\nelse\n: >'{asked}'\n{over}\nfi\n");
        std::fs::write(&program, script).unwrap();
        let text = format!("[profile p]\ncredential_process = sh {}\n", program.display());
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn a_session_that_is_over_is_renewed_where_the_profile_has_another() {
        let embedded = Embedded::cognito();
        let site = &embedded.site;
        site.import();
        let path = site.path("aws-config");
        profile(&embedded, &path);
        let with_profile = |arguments| {
            let command = command(&embedded, arguments).environment("AWS_CONFIG_FILE", &path);
            command.environment("AWS_PROFILE", "p")
        };
        with_profile(&["verify"]).run().ends_with(0);
        assert!(site.path("asked").exists());
        // It asked once with the session that is over, and knew better from then on.
        let requests = embedded.server().counts().management_requests;
        with_profile(&["verify"]).run().ends_with(0);
        assert_eq!(embedded.server().counts().management_requests - requests, requests - 1);
    }
}
