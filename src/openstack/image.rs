//! Glance: the image of a name.

use serde::Deserialize;

use super::auth::Session;
use super::catalog::Service;
use super::error::Error;
use super::http::{Request, percent_encoded};
use super::{ambiguous, looks_like_id, not_found};
use crate::deadline::Deadline;

/// The id of the image that is called `image` or has this id, and is active. Names of images need not be unique:
/// several active ones are an error, for the newest may be anybody's who shares an image with the project.
pub fn image_id(session: &Session, image: &str, deadline: Deadline) -> Result<String, Error> {
    let request = Request::get();
    if looks_like_id(image) {
        match session.send(
            Service::Image,
            &format!("/images/{image}"),
            &request,
            deadline,
        ) {
            Ok(answer) => {
                let found: Image = answer.json()?;
                return the_active(session, image, vec![found]);
            }
            Err(error) if error.status() == Some(404) => {}
            Err(error) => return Err(error),
        }
    }
    let path = format!("/images?name={}", percent_encoded(image));
    let answer = session.send(Service::Image, &path, &request, deadline)?;
    let ImagesBody { images } = answer.json()?;
    the_active(session, image, images)
}

fn the_active(session: &Session, name: &str, images: Vec<Image>) -> Result<String, Error> {
    let (active, other): (Vec<Image>, Vec<Image>) = images
        .into_iter()
        .partition(|image| image.status == "active");
    match active.as_slice() {
        [only] => Ok(only.id.clone()),
        [] => {
            let hint = match other.first() {
                Some(image) => format!(" that is active (its status is {})", image.status),
                None => String::new(),
            };
            Err(not_found(session, "image", name, hint))
        }
        several => {
            let ids = several.iter().map(|image| image.id.as_str());
            Err(ambiguous(session, "image", name, ids))
        }
    }
}

#[derive(Deserialize)]
struct ImagesBody {
    images: Vec<Image>,
}

#[derive(Deserialize)]
struct Image {
    id: String,
    status: String,
}
