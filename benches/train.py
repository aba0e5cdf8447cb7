"""Times PyTorch's training of ResNet-20 (He et al. 2016, option A) on 28x28 pictures, as `cavern train` does it.

    python3 benches/train.py [threads] [batch] [steps]
"""

import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.stride = 1 if inputs == outputs else 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride == 2:
            pad = (y.shape[1] - x.shape[1]) // 2
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, pad, pad))
        return F.relu(y + x)


class ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        widths = [(16, 16)] * 3 + [(16, 32)] + [(32, 32)] * 2 + [(32, 64)] + [(64, 64)] * 2
        self.blocks = nn.Sequential(*(Block(*w) for w in widths))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        return self.fc(self.blocks(F.relu(self.bn1(self.conv1(x)))).mean((2, 3)))


def main():
    threads, batch, steps = (int(a) for a in (sys.argv[1:] + ["2", "128", "20"][len(sys.argv) - 1 :]))
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    for form in [torch.contiguous_format, torch.channels_last]:
        net = ResNet20().to(memory_format=form)
        x = torch.randn(batch, 1, 28, 28).to(memory_format=form)
        t = torch.randint(0, 10, (batch,))
        sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
        for step in range(steps + 3):
            if step == 3:
                start, cpu = time.perf_counter(), time.process_time()
            sgd.zero_grad()
            F.cross_entropy(net(x), t).backward()
            sgd.step()
        done = steps * batch
        rate, cost = done / (time.perf_counter() - start), (time.process_time() - cpu) / done
        print(f"{form}: {rate:.0f} pictures/s on {threads} threads, {cost * 1e3:.3f} ms of processor time each")


main()
