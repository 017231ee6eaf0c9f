namespace AllocTools.Tests.Model.Steps;

/// <summary>Returns a buffer; one that is held is refused.</summary>
internal sealed record Return(int Buffer, bool ByPool) : Step
{
    public override void Run(PoolModel model)
    {
        if (Pick(model.Out, Buffer) is { } lease)
            model.Return(lease, ByPool);
    }
}
