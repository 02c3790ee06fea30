"""The style sheet, made from a theme's colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lipflow_studio.theme import Theme


def style_sheet(t: Theme) -> str:
    """Everything that Qt draws in the colours of a theme."""
    return f"""
    QMainWindow, QDialog {{ background: {t.window}; }}
    QMainWindow::separator {{ background: {t.window}; width: 5px; height: 5px; }}
    QMainWindow::separator:hover {{ background: {t.accent_dim}; }}
    QToolTip {{ background: {t.raised}; color: {t.text}; border: 1px solid {t.line}; padding: 4px 6px; }}

    QMenuBar {{ background: {t.window}; color: {t.text}; padding: 2px 6px; border-bottom: 1px solid {t.line}; }}
    QMenuBar::item {{ padding: 4px 10px; border-radius: 4px; background: transparent; }}
    QMenuBar::item:selected {{ background: {t.hover}; }}
    QMenu {{ background: {t.panel}; border: 1px solid {t.line}; padding: 5px; }}
    QMenu::item {{ padding: 5px 26px 5px 12px; border-radius: 4px; }}
    QMenu::item:selected {{ background: {t.accent_dim}; }}
    QMenu::item:disabled {{ color: {t.disabled}; }}
    QMenu::separator {{ height: 1px; background: {t.line}; margin: 5px 8px; }}

    QStatusBar {{ background: {t.window}; color: {t.muted}; border-top: 1px solid {t.line}; }}
    QStatusBar::item {{ border: none; }}
    QStatusBar QLabel {{ color: {t.muted}; padding: 2px 8px; }}
    QLabel#badge {{ color: {t.text}; background: {t.raised}; border-radius: 8px; padding: 1px 9px; margin: 2px 3px; }}

    QWidget#dockTitle {{ background: {t.panel}; border-bottom: 1px solid {t.line}; }}
    QLabel#dockName {{ color: {t.text}; font-size: 12px; font-weight: 600; }}
    QLabel#hint, QLabel#muted {{ color: {t.muted}; }}
    QLabel#value {{ color: {t.text}; font-family: "DejaVu Sans Mono", "Consolas", monospace; font-size: 12px; }}
    QLabel#section {{ color: {t.muted}; font-size: 11px; font-weight: 600; padding-top: 4px; }}
    QFrame#rule {{ background: {t.line}; max-height: 1px; border: none; }}
    QWidget#panel, QScrollArea#panel, QWidget#panelBody {{ background: {t.panel}; }}
    QWidget#strip {{ background: {t.panel}; border-bottom: 1px solid {t.line}; }}
    QWidget#timeline {{ background: {t.panel}; border-top: 1px solid {t.line}; }}

    QPushButton, QToolButton {{ background: {t.raised}; color: {t.text}; border: 1px solid {t.edge};
        border-radius: 5px; padding: 4px 10px; }}
    QToolButton {{ padding: 4px; }}
    QPushButton:hover, QToolButton:hover {{ background: {t.hover}; border-color: {t.muted}; }}
    QPushButton:pressed, QToolButton:pressed {{ background: {t.accent_dim}; }}
    QPushButton:checked, QToolButton:checked {{ background: {t.accent_dim}; border-color: {t.accent}; }}
    QPushButton:disabled, QToolButton:disabled {{ color: {t.disabled}; background: {t.panel};
        border-color: {t.line}; }}
    QPushButton:focus, QToolButton:focus {{ border-color: {t.accent}; }}
    QPushButton#primary {{ background: {t.accent_dim}; border-color: {t.accent}; }}
    QPushButton#primary:hover {{ background: {t.primary_hover}; }}
    QPushButton#primary:focus {{ border-color: {t.text}; }}
    QPushButton#primary:disabled {{ background: {t.panel}; border-color: {t.line}; }}
    QToolButton#flat {{ background: transparent; border: 1px solid transparent; }}
    QToolButton#flat::menu-indicator {{ image: none; }}
    QToolButton#flat:hover {{ background: {t.hover}; }}
    QToolButton#flat:checked {{ background: {t.accent_dim}; border-color: {t.accent}; }}
    QToolButton#flat:focus {{ border-color: {t.accent}; }}
    QToolButton#flat:checked:focus {{ border-color: {t.text}; }}

    QComboBox, QDoubleSpinBox, QSpinBox, QLineEdit, QPlainTextEdit {{ background: {t.field}; color: {t.text};
        border: 1px solid {t.edge}; border-radius: 5px; padding: 3px 6px; min-height: 18px; }}
    QDoubleSpinBox, QSpinBox {{ max-height: 18px; }}
    QLineEdit {{ placeholder-text-color: {t.muted}; }}
    QComboBox:hover, QDoubleSpinBox:hover, QSpinBox:hover, QLineEdit:hover {{ border-color: {t.muted}; }}
    QComboBox:focus, QDoubleSpinBox:focus, QSpinBox:focus, QLineEdit:focus, QPlainTextEdit:focus {{
        border-color: {t.accent}; }}
    QComboBox::drop-down {{ border: none; width: 20px; }}
    QComboBox::down-arrow {{ image: url(glyphs:down-{t.name}.svg); width: 11px; height: 11px; }}
    QSpinBox::up-button, QDoubleSpinBox::up-button, QSpinBox::down-button, QDoubleSpinBox::down-button {{
        border: none; background: transparent; width: 18px; }}
    QSpinBox::up-arrow, QDoubleSpinBox::up-arrow {{ image: url(glyphs:up-{t.name}.svg); width: 9px; height: 9px; }}
    QSpinBox::down-arrow, QDoubleSpinBox::down-arrow {{ image: url(glyphs:down-{t.name}.svg);
        width: 9px; height: 9px; }}
    QComboBox:disabled, QDoubleSpinBox:disabled, QSpinBox:disabled, QLineEdit:disabled {{ color: {t.disabled};
        border-color: {t.line}; }}
    QLineEdit:disabled {{ placeholder-text-color: {t.disabled}; }}
    QComboBox QAbstractItemView {{ background: {t.panel}; border: 1px solid {t.line};
        selection-background-color: {t.accent_dim}; outline: none; }}
    QSlider::groove:horizontal {{ height: 4px; background: {t.groove}; border-radius: 2px; }}
    QSlider::sub-page:horizontal {{ background: {t.accent_dim}; border-radius: 2px; }}
    QSlider::handle:horizontal {{ width: 12px; height: 12px; margin: -5px 0; border-radius: 6px;
        background: {t.accent}; border: 1px solid {t.window}; }}
    QSlider::handle:horizontal:disabled {{ background: {t.disabled}; }}
    QSlider::handle:horizontal:focus {{ border: 2px solid {t.text}; }}
    QProgressBar {{ background: {t.line}; border: none; border-radius: 3px; }}
    QProgressBar::chunk {{ background: {t.accent}; border-radius: 3px; }}
    QCheckBox {{ spacing: 7px; }}
    QCheckBox:focus {{ color: {t.accent}; }}
    QCheckBox:disabled {{ color: {t.disabled}; }}
    QCheckBox::indicator {{ width: 14px; height: 14px; border: 1px solid {t.edge}; border-radius: 3px;
        background: {t.field}; }}
    QCheckBox::indicator:checked {{ background: {t.accent}; border-color: {t.accent};
        image: url(glyphs:check-{t.name}.svg); }}
    QCheckBox::indicator:focus {{ border-color: {t.text}; }}
    QCheckBox::indicator:disabled {{ border-color: {t.line}; }}

    QScrollArea {{ border: none; }}
    QScrollBar:vertical {{ background: transparent; width: 9px; margin: 0; }}
    QScrollBar::handle:vertical {{ background: {t.line_hover}; border-radius: 4px; min-height: 24px; }}
    QScrollBar:horizontal {{ background: transparent; height: 9px; margin: 0; }}
    QScrollBar::handle:horizontal {{ background: {t.line_hover}; border-radius: 4px; min-width: 24px; }}
    QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
    QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}

    QFrame#banner {{ background: {t.bad_back}; border: none; border-bottom: 1px solid {t.bad}; }}
    QFrame#banner QLabel {{ color: {t.bad_text}; }}
    QFrame#offer, QFrame#tip {{ background: {t.accent_dim}; border: none; border-bottom: 1px solid {t.accent}; }}
    QFrame#offer QLabel, QFrame#tip QLabel {{ color: {t.text}; }}
    QFrame#card {{ background: {t.raised}; border: 1px solid {t.line_hover}; border-radius: 6px; }}
    QLabel#cardText {{ color: {t.text}; font-size: 11px; }}
    QListWidget#strip {{ background: {t.field}; border: 1px solid {t.line}; border-radius: 6px; outline: none; }}
    QListWidget#strip::item {{ border: 1px solid transparent; border-radius: 5px; padding: 2px; color: {t.muted}; }}
    QListWidget#strip::item:hover {{ background: {t.hover}; }}
    QListWidget#strip::item:selected {{ background: {t.accent_dim}; border-color: {t.accent}; color: {t.text}; }}
    QFrame#dropZone {{ background: {t.field}; border: 1px dashed {t.line_hover}; border-radius: 8px; }}
    QTreeView {{ background: {t.field}; border: 1px solid {t.line}; border-radius: 6px; }}
    QListView#runs {{ background: transparent; border: 1px solid transparent; border-radius: 6px; }}
    QTreeView, QListView#runs {{ color: {t.text}; outline: none; selection-background-color: {t.accent_dim};
        selection-color: {t.text}; }}
    QTreeView:focus, QListView#runs:focus, QListWidget#strip:focus, QTextBrowser:focus {{ border-color: {t.accent}; }}
    QTreeView::item {{ padding-right: 4px; }}
    QTreeView::item:hover {{ background: {t.hover}; }}
    QTreeView::item:selected {{ background: {t.accent_dim}; color: {t.text}; }}
    QTabBar {{ qproperty-drawBase: 0; }}
    QTabWidget::pane {{ border: none; }}
    QTabWidget QTabBar::tab {{ background: transparent; }}
    QPlainTextEdit#log {{ font-family: "DejaVu Sans Mono", "Consolas", monospace; font-size: 11px; }}
    QTabBar::tab {{ background: {t.window}; color: {t.muted}; padding: 5px 12px; border: none; }}
    QTabBar::tab:hover {{ color: {t.text}; }}
    QTabBar::tab:selected {{ background: {t.panel}; color: {t.text}; border-bottom: 2px solid {t.accent}; }}
    QTabBar::tab:selected:focus {{ color: {t.accent}; }}
    QTextBrowser {{ background: {t.field}; border: 1px solid {t.line}; border-radius: 6px; padding: 6px; }}
    """
