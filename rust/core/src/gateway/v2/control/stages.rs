//! Stages and deployments.

use serde_json::{json, Value};

use super::{given, missing, put, Change, DEPLOYMENTS_MAX};
use crate::gateway::api::STAGES_MAX;
use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::params::Params;
use crate::gateway::v2::made::{stage as stage_of, text, Deployment, Members};

/// Members that a stage has here.
const STAGE: &[&str] = &[
    "StageName",
    "AutoDeploy",
    "DeploymentId",
    "Description",
    "StageVariables",
    "DefaultRouteSettings",
    "RouteSettings",
    "Tags",
];
/// Settings of a route in a stage. Its metrics are told in detail in any case.
const SETTINGS: &[&str] = &["ThrottlingBurstLimit", "ThrottlingRateLimit", "DetailedMetricsEnabled"];

impl Change<'_> {
    pub(super) fn create_stage(&mut self, params: Params) -> Outcome<Value> {
        let members = given(params, STAGE, &["ApiId"])?;
        let name = text(&members, "StageName").to_owned();
        if self.api.stages.contains_key(&name) {
            return Err(Fault::conflict("Stage already exists"));
        }
        if self.api.stages.len() >= STAGES_MAX {
            return Err(Fault::limit(format!("Maximum number of stages for this API reached: {STAGES_MAX}")));
        }
        let mut stage = Members::new();
        stage.insert("AutoDeploy".into(), json!(false));
        stage.insert("CreatedDate".into(), self.now());
        stage.insert("DefaultRouteSettings".into(), json!({"DetailedMetricsEnabled": false}));
        stage.insert("RouteSettings".into(), json!({}));
        stage.insert("StageVariables".into(), json!({}));
        stage.insert("Tags".into(), json!({}));
        put(&mut stage, members);
        self.keep_stage(stage)
    }

    pub(super) fn update_stage(&mut self, params: Params) -> Outcome<Value> {
        let name = params.named("StageName")?;
        let mut stage = self.api.stages.get(name).cloned().ok_or_else(|| missing("Stage", name))?;
        let is_automatic = stage["AutoDeploy"] == true;
        let mut members = given(params, STAGE, &["ApiId"])?;
        // Settings of routes are put over those that are there, route by route; of all routes, member by member.
        for over in ["RouteSettings", "DefaultRouteSettings"] {
            if let (Some(Value::Object(fresh)), Some(Value::Object(known))) = (members.get(over), stage.get(over)) {
                let mut merged = known.clone();
                put(&mut merged, fresh.clone());
                members.insert(over.into(), json!(merged));
            }
        }
        put(&mut stage, members);
        if is_automatic && stage["AutoDeploy"] == false {
            // From now on it serves what it serves now.
            if let Some(deployment) = self.api.deployments.get_mut(text(&stage, "DeploymentId")) {
                deployment.parts.get_or_insert_with(|| self.api.parts.clone());
            }
        }
        self.keep_stage(stage)
    }

    fn keep_stage(&mut self, mut stage: Members) -> Outcome<Value> {
        let name = text(&stage, "StageName").to_owned();
        self.check_settings(&stage)?;
        let deployment = text(&stage, "DeploymentId").to_owned();
        let known = self.api.stages.get(&name).map(|stage| text(stage, "DeploymentId").to_owned()).unwrap_or_default();
        if stage["AutoDeploy"] == true && deployment != known {
            return Err(Fault::bad("DeploymentId cannot be set on a stage whose AutoDeploy is true"));
        }
        if !deployment.is_empty() && !self.api.deployments.contains_key(&deployment) {
            return Err(missing("Deployment", &deployment));
        }
        stage.insert("LastUpdatedDate".into(), self.now());
        self.api.stages.insert(name.clone(), stage);
        self.changed(json!({}))?;
        Ok(json!(self.api.stages[&name]))
    }

    fn check_settings(&self, stage: &Members) -> Outcome<()> {
        if let Some(Value::Object(of_all)) = stage.get("DefaultRouteSettings") {
            given(Params(of_all), SETTINGS, &[])?;
        }
        for (key, settings) in stage.get("RouteSettings").and_then(Value::as_object).into_iter().flatten() {
            if !self.api.parts.routes.values().any(|route| text(route, "RouteKey") == key) {
                let text = format!("Unable to find Route by key {key} within the provided RouteSettings");
                return Err(Fault::missing(text));
            }
            if let Value::Object(settings) = settings {
                given(Params(settings), SETTINGS, &[])?;
            }
        }
        Ok(())
    }

    pub(super) fn delete_route_settings(&mut self, params: Params) -> Outcome<Value> {
        let (name, key) = (params.named("StageName")?, params.named("RouteKey")?);
        let stage = self.api.stages.get_mut(name).ok_or_else(|| missing("Stage", name))?;
        let settings = stage.get_mut("RouteSettings").and_then(Value::as_object_mut);
        settings.and_then(|settings| settings.shift_remove(key)).ok_or_else(|| missing("RouteSettings", key))?;
        self.changed(json!({}))
    }

    pub(super) fn forget_settings(&mut self, key: &str) {
        for stage in self.api.stages.values_mut() {
            if let Some(Value::Object(settings)) = stage.get_mut("RouteSettings") {
                settings.shift_remove(key);
            }
        }
    }

    pub(super) fn create_deployment(&mut self, params: Params) -> Outcome<Value> {
        let mut members = given(params, &["Description"], &["ApiId", "StageName"])?;
        if self.api.parts.routes.is_empty() {
            return Err(Fault::bad("At least one route is required before deploying the Api."));
        }
        if self.api.deployments.len() >= DEPLOYMENTS_MAX {
            let text = format!("Maximum number of deployments for this API reached: {DEPLOYMENTS_MAX}; delete some");
            return Err(Fault::limit(text));
        }
        let id = self.new_id(|api| &api.deployments);
        if let Some(name) = params.filled("StageName")? {
            let stage = self.api.stages.get_mut(&name).ok_or_else(|| missing("Stage", &name))?;
            if stage["AutoDeploy"] == true {
                return Err(Fault::bad("DeploymentId cannot be set on a stage whose AutoDeploy is true"));
            }
            stage.insert("DeploymentId".into(), json!(id));
        }
        self.describe(&mut members, &id, false);
        let answer = json!(members);
        self.api.deployments.insert(id, Deployment { members, parts: Some(self.api.parts.clone()) });
        self.changed(answer)
    }

    fn describe(&self, members: &mut Members, id: &str, is_automatic: bool) {
        members.insert("AutoDeployed".into(), json!(is_automatic));
        members.insert("CreatedDate".into(), self.now());
        members.insert("DeploymentId".into(), json!(id));
        members.insert("DeploymentStatus".into(), json!("DEPLOYED"));
    }

    /// Drop a deployment that was made for its stage alone.
    pub(super) fn forget_automatic(&mut self, id: &str) {
        if self.api.deployments.get(id).is_some_and(|known| known.parts.is_none()) {
            self.api.deployments.remove(id);
        }
    }

    /// After a change: nothing that could not be served is kept, and stages that deploy by themselves do.
    pub(super) fn changed(&mut self, answer: Value) -> Outcome<Value> {
        let facts = self.facts;
        let names: Vec<String> = self.api.stages.keys().cloned().collect();
        let of_none = stage_of("$default");
        let stages = self.api.stages.values().chain([&of_none]);
        for stage in stages {
            self.api.parts.compile(facts.app, &self.api.id, stage).map_err(Fault::bad)?;
        }
        for name in names {
            if self.api.stages[&name]["AutoDeploy"] != true || self.api.parts.routes.is_empty() {
                continue;
            }
            let id = self.new_id(|api| &api.deployments);
            let mut members = Members::new();
            let text_of = "Automatic deployment triggered by changes to the Api configuration";
            members.insert("Description".into(), json!(text_of));
            self.describe(&mut members, &id, true);
            self.api.deployments.insert(id.clone(), Deployment { members, parts: None });
            let before = text(&self.api.stages[&name], "DeploymentId").to_owned();
            self.forget_automatic(&before);
            if let Some(stage) = self.api.stages.get_mut(&name) {
                stage.insert("DeploymentId".into(), json!(id));
                let told = format!("Successfully deployed stage with deployment ID '{id}'");
                stage.insert("LastDeploymentStatusMessage".into(), json!(told));
            }
        }
        Ok(answer)
    }
}
