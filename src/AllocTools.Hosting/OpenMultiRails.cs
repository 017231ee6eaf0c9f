using AllocTools.MultiRail;

namespace AllocTools.Hosting;

/// <summary>
/// The multi-rails that a container has created. Each holds memory of the pools of its rails, so it is closed when the
/// first of these pools stops.
/// </summary>
internal sealed class OpenMultiRails(RmaMultiRailMetrics metrics)
{
    private readonly Lock _gate = new();
    private readonly List<(RmaMultiRail Rails, Lazy<Task> Closing)> _all = [];

    public void Add(RmaMultiRail rails)
    {
        metrics.Add(rails);
        lock (_gate)
            _all.Add((rails, new Lazy<Task>(() => CloseAsync(rails))));
    }

    /// <summary>Closes the multi-rails with a rail of that pool, and waits until they are closed, even if another pool closes them.</summary>
    public Task CloseAsync(IRmaMemoryPool pool)
    {
        Lazy<Task>[] closing;
        lock (_gate)
            closing = [.. from entry in _all where entry.Rails.Rails.Any(r => r.Pool == pool) select entry.Closing];
        return Task.WhenAll(closing.Select(static c => c.Value));
    }

    private async Task CloseAsync(RmaMultiRail rails)
    {
        await rails.DisposeAsync().ConfigureAwait(false);
        metrics.Remove(rails);
    }
}
