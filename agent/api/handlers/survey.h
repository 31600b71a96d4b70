/* SPDX-License-Identifier: GPL-2.0-or-later */
/* survey.h - checks of many processes, one after the other. */
#ifndef HAUL_AGENT_API_SURVEY_H
#define HAUL_AGENT_API_SURVEY_H

#define SURVEY_NAME "hauld-survey"

/** survey_main() - SURVEY_NAME HAUL PID...: print the findings of each. Return: exit status */
int survey_main(int argc, char **argv);

#endif
