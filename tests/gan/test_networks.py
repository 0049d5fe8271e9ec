import torch

from llm4grn.gan.networks import CellGenerator, Critic, Labeler, normalise_library_size


def test_library_size_is_exact_and_an_empty_cell_stays_empty():
    cells = torch.tensor([[1.0, 3.0], [0.0, 0.0], [0.5, 0.0]], requires_grad=True)
    scaled = normalise_library_size(cells, 20_000)
    torch.testing.assert_close(scaled.sum(dim=1), torch.tensor([20_000.0, 0.0, 20_000.0]))
    torch.testing.assert_close(scaled[0], torch.tensor([5_000.0, 15_000.0]))
    scaled.square().sum().backward()
    assert cells.grad.isfinite().all()


def test_frozen_controller_keeps_its_columns_and_uses_the_batch_at_hand():
    torch.manual_seed(0)
    controller = CellGenerator(4, [8, 6], 10).train()
    noise = torch.randn(32, 4)
    with torch.no_grad():
        everything = controller(noise)  # batch statistics, as in training
    controller.freeze_as_root_source(torch.tensor([7, 2]))
    controller.eval()
    torch.testing.assert_close(controller(noise), everything[:, [7, 2]])
    assert not torch.equal(controller(noise[:16]), everything[:16, [7, 2]])
    assert not any(parameter.requires_grad for parameter in controller.parameters())


def test_shapes_follow_the_protocol():
    generator = CellGenerator(128, [256, 512, 1024], 50)
    assert [block[0].weight.shape for block in generator.blocks] == [(256, 128), (512, 256), (1024, 512)]
    assert (generator(torch.randn(3, 128)) >= 0).all()
    critic = Critic(50, [1024, 512, 256])
    assert [tuple(layer.weight.shape) for layer in critic.layers] == [(1024, 50), (512, 1024), (256, 512), (1, 256)]
    assert all((layer.bias == 0).all() for layer in critic.layers)
    labeler = Labeler(40, [20, 20, 20], 10)
    assert labeler(torch.randn(3, 40)).shape == (3, 10)
    assert len(labeler.blocks) == 3
