//! What a program sees of a refusal that comes with status 200.

use http_body_util::BodyExt;
use keyswap_tower::Profile;
use tower::{Layer, ServiceExt};

use crate::cases::{FORM, JSON, named};
use crate::common::{Reply, Server, answer_with, layer, pieces, request, settled_ring, text};

fn server_of(answers: [(u16, &'static str, &'static str); 2]) -> Server {
    Server::new(move |seen| {
        let (status, content_type, body) = answers[usize::from(seen.id().as_deref() == Some("b"))];
        let mut answer = answer_with(status, pieces(vec![Ok(body.into())], false).boxed());
        answer.headers_mut().insert("content-type", content_type.parse().unwrap());
        Reply::Answer(answer)
    })
}

#[tokio::test]
async fn a_refusal_with_status_200_leads_to_the_next_secret() {
    let form = "error=incorrect_client_credentials&error_description=x";
    for (profile, refusal, token) in [
        (Profile::GitHub, (200, FORM, form), (200, FORM, "access_token=gho_x&scope=")),
        (
            Profile::GitHub,
            (200, JSON, r#"{"error":"incorrect_client_credentials"}"#),
            (200, JSON, r#"{"access_token":"t"}"#),
        ),
        (
            Profile::Slack,
            (200, JSON, r#"{"ok":false,"error":"bad_client_secret"}"#),
            (200, JSON, r#"{"ok":true}"#),
        ),
        (Profile::Auto, (200, FORM, form), (200, JSON, r#"{"access_token":"t"}"#)),
    ] {
        let server = server_of([refusal, token]);
        let ring = settled_ring(&["a", "b"]);
        let service = layer(&ring).profile(profile).layer(server.clone());
        let answer = service.oneshot(request()).await.unwrap();
        let with = answer.body().authenticated().expect("accepted");
        assert_eq!((with.id.as_str(), with.attempts), ("b", 2), "{profile}");
        assert_eq!(text(answer).await, token.2);
        assert_eq!(server.ids(), ["a", "b"]);
        let usage = ring.usage().secrets;
        assert_eq!((usage[0].refused, usage[0].accepted), (1, 0), "{profile}");
    }
}

#[tokio::test]
async fn another_error_with_status_200_is_the_callers_and_counts_neither_way() {
    for (profile, body) in [
        (Profile::GitHub, r#"{"error":"bad_verification_code"}"#),
        (Profile::Slack, r#"{"ok":false,"error":"invalid_code"}"#),
        (Profile::Auto, r#"{"error":"bad_verification_code"}"#),
    ] {
        let server = server_of([(200, JSON, body), (200, JSON, "{}")]);
        let ring = settled_ring(&["a", "b"]);
        let service = layer(&ring).profile(profile).layer(server.clone());
        let answer = service.oneshot(request()).await.unwrap();
        assert!(answer.body().authenticated().is_none());
        assert_eq!(text(answer).await, body);
        assert_eq!(server.ids(), ["a"]);
        let usage = ring.usage().secrets;
        assert_eq!((usage[0].refused, usage[0].accepted), (0, 0), "{profile}");
    }
}

#[tokio::test]
async fn a_refusal_with_status_200_over_the_limit_is_not_judged_and_comes_back_whole() {
    let body = r#"{"error":"incorrect_client_credentials","error_description":"a long one"}"#;
    for profile in [Profile::GitHub, Profile::Auto] {
        let server = server_of([(200, JSON, body), (200, JSON, "{}")]);
        let ring = settled_ring(&["a", "b"]);
        let service =
            layer(&ring).profile(profile).max_answer(body.len() - 1).layer(server.clone());
        assert_eq!(text(service.oneshot(request()).await.unwrap()).await, body);
        assert_eq!(server.ids(), ["a"]);
    }
}

#[tokio::test]
async fn an_accepted_answer_of_a_server_with_honest_status_streams_through() {
    for profile in named().filter(|profile| !matches!(profile, Profile::GitHub | Profile::Slack)) {
        let server = server_of([(200, JSON, r#"{"access_token":"t"}"#); 2]);
        let service = layer(&settled_ring(&["a", "b"])).profile(profile).layer(server);
        let answer = service.oneshot(request()).await.unwrap();
        assert!(answer.body().authenticated().is_some());
        assert!(answer.into_body().into_untouched().is_ok(), "{profile}");
    }
}
