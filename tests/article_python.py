"""The article's programs in Python, as tests/article.py has its shell scripts."""

from __future__ import annotations

from typing import Final

LEVELS: Final = """\
import logging

# 错误日志 - 记录ERROR及以上级别
error_handler = logging.FileHandler('/root/sensevoice-small-语音识别-onnx/logs/error.log')
error_handler.setLevel(logging.ERROR)

# 访问日志 - 记录所有访问请求
access_handler = logging.FileHandler('/root/sensevoice-small-语音识别-onnx/logs/access.log')
access_handler.setLevel(logging.INFO)

# 调试日志 - 仅在需要时开启
debug_handler = logging.FileHandler('/root/sensevoice-small-语音识别-onnx/logs/debug.log')
debug_handler.setLevel(logging.DEBUG)
"""

VALIDATE: Final = """\
# /root/validate_model.py
import argparse
import sys
import torch
import onnxruntime

def validate_model(model_path):
    \"\"\"验证模型是否可用\"\"\"
    try:
        # 尝试加载模型
        print(f"验证模型: {model_path}")

        # 检查必要的文件是否存在
        required_files = ["model.onnx", "config.json"]
        for file in required_files:
            if not (model_path / file).exists():
                print(f"错误: 缺少必要文件 {file}")
                return False

        # 尝试初始化ONNX Runtime会话
        print("初始化ONNX Runtime...")
        ort_session = onnxruntime.InferenceSession(
            str(model_path / "model.onnx"),
            providers=['CPUExecutionProvider']
        )

        # 创建测试输入
        import numpy as np
        test_input = np.random.randn(1, 16000).astype(np.float32)

        # 尝试推理
        print("运行测试推理...")
        ort_inputs = {ort_session.get_inputs()[0].name: test_input}
        ort_outs = ort_session.run(None, ort_inputs)

        print(f"推理成功，输出形状: {ort_outs[0].shape}")
        return True

    except Exception as e:
        print(f"模型验证失败: {e}")
        return False

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-path", required=True, help="模型路径")
    args = parser.parse_args()

    from pathlib import Path
    model_path = Path(args.model_path)

    if validate_model(model_path):
        print("模型验证通过")
        sys.exit(0)
    else:
        print("模型验证失败")
        sys.exit(1)
"""

PANEL: Final = """\
# /root/ops_panel.py
from flask import Flask, render_template_string, jsonify
import subprocess
import psutil
import os

app = Flask(__name__)

HTML_TEMPLATE = \"\"\"
<!DOCTYPE html>
<html>
<head>
    <title>SenseVoice运维面板</title>
    <style>
        body { font-family: Arial, sans-serif; margin: 20px; }
        .card { border: 1px solid #ddd; padding: 15px; margin: 10px 0; border-radius: 5px; }
        .healthy { background-color: #d4edda; }
        .warning { background-color: #fff3cd; }
        .danger { background-color: #f8d7da; }
        button { padding: 10px 15px; margin: 5px; cursor: pointer; }
    </style>
</head>
<body>
    <h1>SenseVoice-small运维面板</h1>

    <div class="card">
        <h2>系统状态</h2>
        <p>磁盘使用率: {{ disk_usage }}%</p>
        <p>内存使用率: {{ memory_usage }}%</p>
        <p>CPU使用率: {{ cpu_usage }}%</p>
    </div>

    <div class="card {{ service_status_class }}">
        <h2>服务状态</h2>
        <p>SenseVoice WebUI: {{ service_status }}</p>
        <button onclick="restartService()">重启服务</button>
        <button onclick="checkLogs()">查看日志</button>
    </div>

    <div class="card">
        <h2>运维操作</h2>
        <button onclick="cleanupDisk()">清理磁盘</button>
        <button onclick="rotateLogs()">轮转日志</button>
        <button onclick="updateModel()">更新模型</button>
    </div>

    <script>
        async function restartService() {
            const response = await fetch('/api/restart-service');
            alert(await response.text());
        }

        async function cleanupDisk() {
            const response = await fetch('/api/cleanup-disk');
            alert(await response.text());
        }

        async function rotateLogs() {
            const response = await fetch('/api/rotate-logs');
            alert(await response.text());
        }

        async function updateModel() {
            const version = prompt('请输入新模型版本:');
            if (version) {
                const response = await fetch(`/api/update-model?version=${version}`);
                alert(await response.text());
            }
        }

        async function checkLogs() {
            window.open('/api/view-logs');
        }
    </script>
</body>
</html>
\"\"\"

@app.route('/')
def index():
    # 获取系统状态
    disk_usage = psutil.disk_usage('/').percent
    memory_usage = psutil.virtual_memory().percent
    cpu_usage = psutil.cpu_percent(interval=1)

    # 获取服务状态
    try:
        result = subprocess.run(['supervisorctl', 'status', 'sensevoice:sensevoice-webui'],
                              capture_output=True, text=True)
        service_status = result.stdout.strip()
        service_status_class = 'healthy' if 'RUNNING' in service_status else 'danger'
    except:
        service_status = '未知'
        service_status_class = 'warning'

    return render_template_string(HTML_TEMPLATE,
                                disk_usage=round(disk_usage, 1),
                                memory_usage=round(memory_usage, 1),
                                cpu_usage=round(cpu_usage, 1),
                                service_status=service_status,
                                service_status_class=service_status_class)

@app.route('/api/restart-service')
def restart_service():
    try:
        subprocess.run(['supervisorctl', 'restart', 'sensevoice:sensevoice-webui'], check=True)
        return '服务重启成功'
    except subprocess.CalledProcessError as e:
        return f'服务重启失败: {e}'

@app.route('/api/cleanup-disk')
def cleanup_disk():
    try:
        # 执行清理脚本
        result = subprocess.run(['/root/clean_sensevoice.sh'], capture_output=True, text=True)
        return result.stdout
    except Exception as e:
        return f'清理失败: {e}'

if __name__ == '__main__':
    app.run(host='0.0.0.0', port=5000)
"""
