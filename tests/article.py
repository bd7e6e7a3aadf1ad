"""The scripts of the article that this project began with, as they stand there.

The web page lost quotes, `=`, `+`, `>` and `&&`; they are back, and nothing else differs. `place` writes the files
below a directory, with every /root in it put below that directory too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.article_python import LEVELS, PANEL, VALIDATE

__all__ = ["LEVELS", "PANEL", "VALIDATE"]
PROJECT: Final = "/root/sensevoice-small-语音识别-onnx"
MODELS: Final = "/root/ai-models/danieldong"
OLD: Final = "sensevoice-small-onnx-quant-v1.0"
NEW: Final = "sensevoice-small-onnx-quant-v1.1"
TEST: Final = "sensevoice-small-onnx-quant-test"
PROGRAM: Final = "sensevoice:sensevoice-webui"

USAGE: Final = f"""\
df -h
du -sh {PROJECT}/
du -sh {PROJECT}/* | sort -hr
"""

BY_AGE: Final = f"""\
find {PROJECT}/logs -name "*.log" -mtime +7 -delete
"""
COMPRESS: Final = f"""\
find {PROJECT}/logs -name "*.log" -mtime +7 -exec gzip {{}} \\;
"""
CACHE: Final = f"""\
rm -rf {PROJECT}/cache/*
find {PROJECT}/tmp -type f -mtime +1 -delete
find {PROJECT}/uploads -type f -mtime +1 -delete
"""

CLEAN: Final = f"""\
#!/bin/bash
# /root/clean_sensevoice.sh

# 设置日志文件路径
LOG_FILE="{PROJECT}/logs/cleanup.log"

# 记录开始时间
echo "清理开始于 $(date)" >> $LOG_FILE

# 1. 清理旧日志（保留7天）
echo "清理7天前的日志文件..." >> $LOG_FILE
find {PROJECT}/logs -name "*.log" -mtime +7 -delete
echo "日志清理完成" >> $LOG_FILE

# 2. 清理临时文件（保留1天）
echo "清理1天前的临时文件..." >> $LOG_FILE
find {PROJECT}/tmp -type f -mtime +1 -delete
echo "临时文件清理完成" >> $LOG_FILE

# 3. 清理上传文件（保留1天）
echo "清理1天前的上传文件..." >> $LOG_FILE
find {PROJECT}/uploads -type f -mtime +1 -delete
echo "上传文件清理完成" >> $LOG_FILE

# 记录磁盘使用情况
echo "清理后磁盘使用情况" >> $LOG_FILE
df -h >> $LOG_FILE
echo "清理结束于 $(date)" >> $LOG_FILE
echo "" >> $LOG_FILE
"""
CRON: Final = "0 3 * * * /root/clean_sensevoice.sh"

ROTATE_DAILY: Final = f"""\
# /etc/logrotate.d/sensevoice
{PROJECT}/logs/*.log {{
    daily               # 每天轮转一次
    rotate 30           # 保留30天的日志
    compress            # 压缩旧日志
    delaycompress       # 延迟一天压缩
    missingok           # 如果日志文件不存在也不报错
    notifempty          # 如果日志为空则不轮转
    create 644 root root  # 创建新日志文件的权限
    postrotate
        # 轮转后重启服务以确保日志文件正确切换
        supervisorctl restart {PROGRAM}
    endscript
}}
"""
ROTATE_BY_SIZE: Final = f"""\
# /etc/logrotate.d/sensevoice-size
{PROJECT}/logs/webui.log {{
    size 100M  # 文件达到100MB时轮转
    rotate 10  # 保留10个轮转文件
    compress
    delaycompress
    missingok
    notifempty
    create 644 root root
    postrotate
        supervisorctl restart {PROGRAM}
    endscript
}}
"""

UPDATE: Final = f"""\
#!/bin/bash
# /root/update_model.sh

MODEL_BASE="{MODELS}"
CURRENT_LINK="$MODEL_BASE/current"
NEW_VERSION="{NEW}"

echo "开始模型热更新..."
echo "新版本: $NEW_VERSION"

# 1. 检查新模型是否存在
if [ ! -d "$MODEL_BASE/$NEW_VERSION" ]; then
    echo "错误: 新模型目录不存在"
    exit 1
fi

# 2. 创建临时符号链接
TEMP_LINK="$MODEL_BASE/current_new"
ln -sfn "$MODEL_BASE/$NEW_VERSION" "$TEMP_LINK"

# 3. 验证新模型
echo "验证新模型..."
# 这里可以添加模型验证逻辑，比如运行一个测试推理
python3 /root/validate_model.py --model-path "$MODEL_BASE/$NEW_VERSION"

if [ $? -ne 0 ]; then
    echo "模型验证失败，更新中止"
    rm -f "$TEMP_LINK"
    exit 1
fi

# 4. 原子性切换（使用mv命令是原子的）
mv -T "$TEMP_LINK" "$CURRENT_LINK"

# 5. 通知服务重新加载模型
echo "通知服务重新加载模型..."
# 可以通过信号、API调用或配置文件变更来通知服务
curl -X POST http://localhost:7860/api/reload-model

echo "模型热更新完成"
echo "当前模型: $(readlink -f $CURRENT_LINK)"
"""

OUR_CHECK: Final = 'import os, sys\nos.execvp("modelward", ["modelward", "validate", sys.argv[2]])\n'
"""Ours, in the place of the article's validate_model.py."""

HOT_UPDATE: Final = f"""\
#!/bin/bash
# /root/test_hot_update.sh

echo "开始热更新测试"

# 1. 备份当前模型链接
CURRENT_MODEL=$(readlink -f {MODELS}/current)
echo "当前模型: $CURRENT_MODEL"

# 2. 准备测试模型（可以是相同版本）
TEST_MODEL="{MODELS}/{TEST}"
cp -r "$CURRENT_MODEL" "$TEST_MODEL"

# 3. 运行更新脚本
/root/update_model.sh

# 4. 验证服务是否正常
echo "验证服务状态..."
curl -f http://localhost:7860/health

if [ $? -eq 0 ]; then
    echo "服务状态正常"
else
    echo "服务状态异常，需要回滚"
    # 回滚到原模型
    ln -sfn "$CURRENT_MODEL" {MODELS}/current
fi

echo "热更新测试完成"
"""

MONITOR: Final = f"""\
#!/bin/bash
# /root/monitor_sensevoice.sh

# 监控指标
DISK_USAGE=$(df -h / | awk 'NR==2 {{print $5}}' | sed 's/%//')
MEM_USAGE=$(free | awk '/Mem:/ {{printf "%.1f", $3/$2*100}}')
CPU_USAGE=$(top -bn1 | grep "Cpu(s)" | awk '{{print $2}}' | cut -d'%' -f1)
SERVICE_STATUS=$(supervisorctl status {PROGRAM} | awk '{{print $2}}')

# 日志文件
LOG_FILE="{PROJECT}/logs/monitor.log"

# 检查阈值
ALERT=false
ALERT_MESSAGE=""

if [ $DISK_USAGE -gt 90 ]; then
    ALERT=true
    ALERT_MESSAGE="$ALERT_MESSAGE 磁盘使用率: ${{DISK_USAGE}}% (超过90%)"
fi

if [ $(echo "$MEM_USAGE > 90" | bc) -eq 1 ]; then
    ALERT=true
    ALERT_MESSAGE="$ALERT_MESSAGE 内存使用率: ${{MEM_USAGE}}% (超过90%)"
fi

if [ "$SERVICE_STATUS" != "RUNNING" ]; then
    ALERT=true
    ALERT_MESSAGE="$ALERT_MESSAGE 服务状态: $SERVICE_STATUS"
fi

# 记录监控结果
TIMESTAMP=$(date '+%Y-%m-%d %H:%M:%S')
echo "[$TIMESTAMP] 磁盘:${{DISK_USAGE}}% 内存:${{MEM_USAGE}}% CPU:${{CPU_USAGE}}% 服务:$SERVICE_STATUS" >> $LOG_FILE

# 发送告警
if [ "$ALERT" = true ]; then
    echo "[$TIMESTAMP] 告警: $ALERT_MESSAGE" >> $LOG_FILE
    # 这里可以添加邮件、短信、钉钉等告警通知
    # send_alert "SenseVoice监控告警" "$ALERT_MESSAGE"
fi
"""

BUTTONS: Final = {
    "重启服务": "/api/restart-service",
    "清理磁盘": "/api/cleanup-disk",
    "轮转日志": "/api/rotate-logs",
    "更新模型": "/api/update-model?version=v1.1",
    "查看日志": "/api/view-logs",
}
"""What the page's buttons fetch, all with GET. Only the first two have a route in the article."""

PROGRAMS: Final = {
    "/root/clean_sensevoice.sh": CLEAN,
    "/root/update_model.sh": UPDATE,
    "/root/validate_model.py": VALIDATE,
    "/root/test_hot_update.sh": HOT_UPDATE,
    "/root/monitor_sensevoice.sh": MONITOR,
    "/root/ops_panel.py": PANEL,
    "/etc/logrotate.d/sensevoice": ROTATE_DAILY,
    "/etc/logrotate.d/sensevoice-size": ROTATE_BY_SIZE,
}


def placed(text: str, root: str, *, port: int = 7860, panel: int = 5000) -> str:
    """A text of the article with its /root below the directory `root`, and other ports in it."""
    text = text.replace("/root/", f"{root}/root/")
    return text.replace("localhost:7860", f"localhost:{port}").replace("port=5000", f"port={panel}")


def place(below: Path, root: str, *, port: int = 7860, panel: int = 5000) -> None:
    """Writes every program, and makes the directories that they work in, below `below`; `root` as for `placed`."""
    for name in ("logs", "cache", "tmp", "uploads"):
        (below / PROJECT.lstrip("/") / name).mkdir(parents=True, exist_ok=True)
    for name, text in PROGRAMS.items():
        path = below / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(placed(text, root, port=port, panel=panel), encoding="utf-8")
        path.chmod(0o644 if "logrotate" in name else 0o755)
