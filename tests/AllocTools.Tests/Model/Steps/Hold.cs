namespace AllocTools.Tests.Model.Steps;

/// <summary>Has an operation hold a buffer.</summary>
internal sealed record Hold(int Buffer, int Times) : Step
{
    public override void Run(PoolModel model)
    {
        if (Pick(model.Out, Buffer) is { } lease)
            model.Hold(lease, Times);
    }
}
