namespace AllocTools.Tests.Model.Steps;

/// <summary>Ends an operation, even one on a buffer that was returned meanwhile.</summary>
internal sealed record Release(int Buffer, int Hold) : Step
{
    public override void Run(PoolModel model)
    {
        if (Pick([.. model.Taken], Buffer) is { } lease && Pick(lease.Holds, Hold) is { } hold)
            model.Release(lease, hold);
    }
}
