//! Made holders against made binders, on this machine's kernel, with the real tracer.

mod adversary;
mod advice;
mod assign;
mod capture;
mod causes;
mod cli;
mod closes;
mod controls;
mod crowds;
mod faults_cgroup;
mod faults_end;
mod faults_losses;
mod faults_machine;
mod faults_privilege;
mod filters;
mod holders;
mod incidents;
mod late;
mod limits;
mod lockdown;
mod names;
mod play;
mod rule;
mod same_connection;
mod storm;
mod text;
