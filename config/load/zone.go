package load

// zones gives the settings' time zone to every block that names none. The zone an object works in is part of its specification:
// a change of the settings shows as a change of every object it moves.
func (l *loader) zones() {
	inherit := func(own *string) {
		if *own == "" {
			*own = l.doc.Settings.Timezone
		}
	}
	for _, w := range l.doc.Windows {
		inherit(&w.Timezone)
	}
	for _, f := range l.doc.Freezes {
		inherit(&f.Timezone)
	}
	for _, bp := range l.doc.BackupPlans {
		if bp.Schedule != "" {
			inherit(&bp.Timezone)
		}
	}
}

// stops gives every backup plan the settings' word that all backups are stopped. Backups that are not stopped need no word.
func (l *loader) stops() {
	if on := l.doc.Settings.BackupsEnabled; on == nil || *on {
		return
	}
	for _, bp := range l.doc.BackupPlans {
		bp.BackupsEnabled = l.doc.Settings.BackupsEnabled
	}
}
