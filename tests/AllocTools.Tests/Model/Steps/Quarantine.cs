namespace AllocTools.Tests.Model.Steps;

/// <summary>Has an operation that holds a buffer time out.</summary>
internal sealed record Quarantine(int Buffer, int Hold) : Step
{
    public override void Run(PoolModel model)
    {
        if (Pick([.. model.Taken], Buffer) is { } lease)
            Pick(lease.Holds, Hold)?.Quarantine();
    }
}
