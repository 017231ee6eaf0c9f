namespace AllocTools.Tests.Model.Steps;

/// <summary>Returns a buffer to the pool, which refuses one that is held, or disposes it.</summary>
internal sealed record Return(int Buffer, bool ByPool) : Step
{
    public override void Run(PoolModel model)
    {
        if (Pick(model.Out, Buffer) is { } lease)
            model.Return(lease, ByPool);
    }
}
