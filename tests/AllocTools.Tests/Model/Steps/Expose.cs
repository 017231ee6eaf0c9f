namespace AllocTools.Tests.Model.Steps;

/// <summary>Exposes a buffer to peers.</summary>
internal sealed record Expose(int Buffer) : Step
{
    public override void Run(PoolModel model)
    {
        if (Pick(model.Out, Buffer) is { } lease)
            model.Expose(lease);
    }
}
